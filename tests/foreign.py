"""Whole clusters of other kinds, written down in short and made out as their API would show them.

A file of fixtures/distributions names what differs between clusters: the nodes, the workloads with their containers,
labels and odd settings, Services, webhooks, leases. What is alike everywhere is added here: owners, ReplicaSets, pods
with their conditions and token volumes, EndpointSlices, namespaces, service accounts, the ConfigMaps that pods name.

    version: v1.31.2-eks-7f9249a
    remarks: [Service x/y selects no pod]        # how the messages begin that are worth knowing and no fault
    nodes:
      ip-10-0-1-12.ec2.internal: {address: 10.0.1.12, labels: {…}, spec: {…}, windows: true, lease: false}
    workloads:
      DaemonSet kube-system/aws-node: {labels: {…}, containers: {aws-node: image}, init: {…}, spec: {…}, at: [node]}
      Deployment shop/web: {replicas: 2, containers: {web: {image: nginx, ports: [http 8080]}}}
      Static kube-system/kube-apiserver: {at: [cp1]}      # the mirror of a manifest
      Job kube-system/helm-install-traefik: {}            # done, and its pod kept
      Pod default/tool: {}
    services:
      kube-system/kube-dns: {clusterIP: 172.20.0.10, selector: {k8s-app: kube-dns}, ports: [dns 53/UDP 8053]}
      default/kubernetes: {ports: [https 443 6443], endpoints: [172.31.1.1]}      # written by somebody else
    webhooks:
      Validating istio-validator: {rules.x: {service: istio-system/istiod 443 /validate, policy: Fail}}
    apiservices: {v1beta1.metrics.k8s.io: kube-system/metrics-server 443}
    leases: [kube-scheduler]
    objects: {ingresses: […]}                             # as they are
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from kdiag.engine.intake import sources
from kdiag.facts.base import ApiList
from kdiag.model.observation import Observation
from tests.recording import FIXTURES, all_facts
from tests.whole import Object, Whole

FOLDER = FIXTURES / "distributions"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAKEN = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
_LISTS = {
    "Deployment": "deployments",
    "ReplicaSet": "replicasets",
    "StatefulSet": "statefulsets",
    "DaemonSet": "daemonsets",
    "Job": "jobs",
}


def distributions() -> tuple[str, ...]:
    """The names of all of them."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


@cache
def _load(path: Path) -> Object:
    content = yaml.load(path.read_text(), Loader=_LOADER)
    assert isinstance(content, dict), path
    return content


def uid(*parts: str) -> str:
    """The same uid for the same thing, in the form of a UUID."""
    text = hashlib.sha256("/".join(parts).encode()).hexdigest()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:32]}"


def tail(*parts: str, length: int = 5) -> str:
    """The same random-looking end of a name for the same thing."""
    digits = hashlib.sha256("/".join(parts).encode()).digest()
    return "".join("bcdfghjklmnpqrstvwxz2456789"[d % 27] for d in digits[:length])


class Foreign(Whole):
    """A cluster of a distribution, open to change as the lab's recording is."""

    def __init__(self, name: str) -> None:
        self.lists = {s.key: [] for s in sources(all_facts()) if isinstance(s, ApiList)}
        self.other = []
        self.logs = {}
        self.hosts = {}
        self.dead_of = ""
        self.refused = set()
        self.taken = _TAKEN
        self._made: list[tuple[str, Object]] = []
        content = copy.deepcopy(_load(FOLDER / f"{name}.yaml"))
        self._old = self.ago(days=content.pop("days", 40))
        self._run(content)
        for title, node in content.pop("nodes").items():
            self._node(title, node or {}, content["version"])
        self._system_namespaces()
        for title, workload in content.pop("workloads", {}).items():
            kind, _, path = title.partition(" ")
            self._workload(kind, path, workload or {})
        for path, service in content.pop("services", {}).items():
            self._service(path, service)
        for title, hooks in content.pop("webhooks", {}).items():
            self._webhooks(title, hooks)
        for name_, served in content.pop("apiservices", {}).items():
            self._apiservice(name_, served)
        for lease in content.pop("leases", ()):
            self._lease("system-leases", lease, "kube-system", f"{lease}-holder_{uid(lease)}", 15)
        for key, items in content.pop("objects", {}).items():
            self.lists[key] += [self._owned_by(item) for item in items]
        for where, text in content.pop("log", {}).items():
            self.log(where, text)
        content.pop("version")
        self.remarks = content.pop("remarks", [])
        assert not content, f"what is {sorted(content)} of {name}?"
        self._surroundings()

    def _owned_by(self, item: Object) -> Object:
        """An object with its owner, where ``owner: Kind namespace/name`` says it in short."""
        if owner := item.pop("owner", ""):
            kind, _, path = owner.partition(" ")
            namespace, _, name = path.partition("/")
            top = self.get(_LISTS[kind], name, namespace)
            if kind == "Deployment":
                kind, top = (
                    "ReplicaSet",
                    next(r for r in self.lists["replicasets"] if _controller(r) == top["metadata"]["uid"]),
                )
            made = {"kind": kind, "name": top["metadata"]["name"], "uid": top["metadata"]["uid"], "controller": True}
            item["metadata"]["ownerReferences"] = [made]
        return item

    def _run(self, content: Object) -> None:
        run = {"taken": self.taken.isoformat(), "server": "https://api.example.com", "context": "there"}
        version = {"major": "1", "minor": content["version"].split(".")[1], "gitVersion": content["version"]}
        ready = "[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]informer-sync ok\nreadyz check passed\n"
        for key, body in (("run", json.dumps(run)), ("version", json.dumps(version)), ("readyz", ready)):
            self.other.append(Observation("api", key, body=body.encode()))
        self.other.append(Observation("api", "log", absent=True))

    # -- nodes

    def _node(self, name: str, node: Object, server: str) -> None:
        windows, address = node.get("windows", False), node.get("address", f"10.0.0.{10 + len(self.lists['nodes'])}")
        version = node.get("version", server)
        system = "windows" if windows else "linux"
        labels = {
            "kubernetes.io/hostname": name,
            **{"kubernetes.io/os": system, "beta.kubernetes.io/os": system},
            **{"kubernetes.io/arch": "amd64", "beta.kubernetes.io/arch": "amd64"},
            **node.get("labels", {}),
        }
        size = {"cpu": "8", "memory": "32Gi", "pods": str(node.get("pods", 110)), "ephemeral-storage": "100Gi"}
        conditions = [
            ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ]
        created = self.ago(**node["ago"]) if "ago" in node else self._old
        status = [
            {**dict(zip(("type", "status", "reason", "message"), c, strict=True)), "lastTransitionTime": created}
            | {"lastHeartbeatTime": self.ago(minutes=3)}
            for c in [*conditions, *(tuple(c) for c in node.get("conditions", ()))]
        ]
        info = {
            "kubeletVersion": version,
            "containerRuntimeVersion": node.get("runtime", "containerd://1.7.27"),
            "operatingSystem": system,
            "architecture": labels["kubernetes.io/arch"],
            "osImage": node.get("os", "Windows Server 2022 Datacenter" if windows else "Ubuntu 22.04.5 LTS"),
            "kernelVersion": "10.0.20348.2849" if windows else "6.1.119",
        }
        addresses = [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]
        self.lists["nodes"].append(
            {
                "metadata": {
                    **{"name": name, "uid": uid("node", name), "creationTimestamp": created, "labels": labels},
                    **{"annotations": node.get("annotations", {})},
                },
                "spec": node.get("spec", {}),
                "status": {
                    **{"capacity": size, "allocatable": size, "conditions": status, "nodeInfo": info},
                    **{"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}},
                },
            }
        )
        if node.get("lease", True):
            self._lease("node-leases", name, "kube-node-lease", name, 40)

    def _lease(self, key: str, name: str, namespace: str, holder: str, seconds: int) -> None:
        renewed = self.ago(seconds=2).replace("Z", ".000000Z")
        spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": renewed}
        made: Object = {"name": name, "namespace": namespace, "uid": uid("lease", name), "creationTimestamp": self._old}
        if name.startswith("apiserver-"):
            made["labels"] = {"apiserver.kubernetes.io/identity": "kube-apiserver"}
        self.lists[key].append({"metadata": made, "spec": {**spec, "acquireTime": self._old.replace("Z", ".000000Z")}})

    # -- workloads

    def _workload(self, kind: str, path: str, said: Object) -> None:
        namespace, _, name = path.partition("/")
        labels = said.get("labels", {"app": name})
        spec = self._pod_spec(name, said)
        created = self.ago(**said["ago"]) if "ago" in said else self._old
        meta: Object = {"name": name, "namespace": namespace, "uid": uid(kind, path), "creationTimestamp": created}
        meta |= {"labels": labels, "generation": 1, "annotations": said.get("annotations", {})}
        homes = self._homes(kind, said, spec)
        if kind in ("Pod", "Static"):
            for home in homes[: None if kind == "Static" else 1]:
                self._bare(kind, path, home, labels, spec, said, created)
            return
        template = {"metadata": {"labels": labels, "annotations": said.get("podAnnotations", {})}, "spec": spec}
        selector = {"matchLabels": said.get("selector", labels)}
        count = said.get("replicas", 1)
        top: Object = {"metadata": meta, "spec": {"selector": selector, "template": template, **said.get("of", {})}}
        self.add(_LISTS[kind], top)
        owner = {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": meta["uid"], "controller": True}
        extra: dict[str, str] = {}
        match kind:
            case "DaemonSet":
                count = len(homes)
                top["status"] = {
                    **dict.fromkeys(("desiredNumberScheduled", "currentNumberScheduled", "numberReady"), count),
                    **{"updatedNumberScheduled": count, "numberMisscheduled": 0, "observedGeneration": 1},
                    **({"numberAvailable": count} if count else {}),
                }
                extra = {"controller-revision-hash": tail(path, length=10), "pod-template-generation": "1"}
            case "StatefulSet":
                top["spec"] |= {"replicas": count, "serviceName": said.get("serviceName", name)}
                revision = f"{name}-{tail(path, length=10)}"
                top["status"] = {
                    **dict.fromkeys(("replicas", "readyReplicas", "currentReplicas", "updatedReplicas"), count),
                    **{"availableReplicas": count, "currentRevision": revision, "updateRevision": revision},
                    **{"observedGeneration": 1, "collisionCount": 0},
                }
                extra = {"controller-revision-hash": revision}
            case "Job":
                self._job(top, said, created)
                owner["apiVersion"] = "batch/v1"
                extra = {"batch.kubernetes.io/job-name": name, "job-name": name, "controller-uid": meta["uid"]}
            case "Deployment":
                owner, extra = self._replicaset(top, path, count, template, created)
        if "owner" in said:
            meta["ownerReferences"] = [{"controller": True, "uid": uid("owner", path), **said["owner"]}]
        if said.get("pods") == "gone":
            return
        for number in range(count):
            pod_name = f"{name}-{number}" if kind == "StatefulSet" else f"{owner['name']}-{tail(path, str(number))}"
            assert homes, f"no node for {path}"
            home = homes[number % len(homes)]
            pod = self._pod(pod_name, namespace, home, {**labels, **extra}, spec, said, created)
            pod["metadata"]["ownerReferences"] = [owner]
            if kind == "Job":
                finish(pod, self.ago(**said.get("ended", {"days": 20})))
            self.add("pods", pod)

    def _replicaset(
        self, top: Object, path: str, count: int, template: Object, created: str
    ) -> tuple[Object, dict[str, str]]:
        name, meta = top["metadata"]["name"], top["metadata"]
        meta["annotations"] = {"deployment.kubernetes.io/revision": "3", **meta["annotations"]}
        top["spec"] = {"replicas": count, "progressDeadlineSeconds": 600, "strategy": ROLLING, **top["spec"]}
        condition = {"status": "True", "lastTransitionTime": created, "lastUpdateTime": created}
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
        top["status"] = {
            **(counts if count else {}),
            "observedGeneration": 1,
            "conditions": [
                {**condition, "type": "Available", "reason": "MinimumReplicasAvailable"},
                {**condition, "type": "Progressing", "reason": "NewReplicaSetAvailable"},
            ],
        }
        digest = hashlib.sha256(path.encode()).hexdigest()[:10]
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": meta["uid"], "controller": True}
        labels = {**top["spec"]["selector"]["matchLabels"], "pod-template-hash": digest}
        for age, revision, wanted in ((digest, "3", count), (tail(path, "old", length=10), "2", 0)):
            replicaset = {
                "metadata": {
                    **{"name": f"{name}-{age}", "namespace": meta["namespace"], "uid": uid("rs", path, age)},
                    **{"creationTimestamp": created, "labels": {**labels, "pod-template-hash": age}, "generation": 1},
                    **{"ownerReferences": [owner], "annotations": {"deployment.kubernetes.io/revision": revision}},
                },
                "spec": {"replicas": wanted, "selector": {"matchLabels": labels}, "template": template},
                "status": {
                    **{"replicas": wanted, "observedGeneration": 1},
                    **({"readyReplicas": wanted, "availableReplicas": wanted} if wanted else {}),
                },
            }
            self.add("replicasets", replicaset)
        made = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{name}-{digest}", "controller": True}
        return {**made, "uid": uid("rs", path, digest)}, {"pod-template-hash": digest}

    def _job(self, top: Object, said: Object, created: str) -> None:
        ended = self.ago(**said.get("ended", {"days": 20}))
        top["spec"] = {"completions": 1, "parallelism": 1, "backoffLimit": 6, **top["spec"]}
        top["spec"]["template"]["spec"]["restartPolicy"] = said.get("restartPolicy", "OnFailure")
        done = {"type": "Complete", "status": "True", "lastTransitionTime": ended, "lastProbeTime": ended}
        top["status"] = {"succeeded": 1, "startTime": created, "completionTime": ended, "conditions": [done]}
        top["status"] |= {"uncountedTerminatedPods": {}, "ready": 0}

    def _pod_spec(self, name: str, said: Object) -> Object:
        extra = said.get("spec", {})
        spec = {
            "containers": list(_containers(said.get("containers", {name: f"registry.example.com/{name}:1.0"}))),
            **{"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"},
            **{"serviceAccountName": said.get("account", "default"), "terminationGracePeriodSeconds": 30},
            **extra,
        }
        if "init" in said:
            spec["initContainers"] = list(_containers(said["init"]))
        return spec

    def _homes(self, kind: str, said: Object, spec: Object) -> list[str]:
        """The nodes that a workload's pods are on: those named, else those that fit."""
        if "at" in said:
            return list(said["at"])
        selector = spec.get("nodeSelector", {})
        tolerated = kind == "DaemonSet" or kind == "Static"
        homes = []
        for node in self.lists["nodes"]:
            labels, taints = node["metadata"]["labels"], node["spec"].get("taints", ())
            virtual = {"virtual-kubelet", "fargate"} & {
                labels.get("type"),
                labels.get("eks.amazonaws.com/compute-type"),
            }
            fits = selector.items() <= labels.items() and not virtual
            fits &= tolerated or not any(t["effect"] in ("NoSchedule", "NoExecute") for t in taints)
            fits &= labels["kubernetes.io/os"] == selector.get("kubernetes.io/os", "linux")
            if fits:
                homes.append(node["metadata"]["name"])
        return homes

    def _bare(self, kind: str, path: str, home: str, labels: Object, spec: Object, said: Object, created: str) -> None:
        namespace, _, name = path.partition("/")
        if kind == "Pod":
            self.add("pods", self._pod(name, namespace, home, labels, spec, said, created))
            return
        spec = {"hostNetwork": True, "priorityClassName": "system-node-critical", "enableServiceLinks": True, **spec}
        pod = self._pod(f"{name}-{home}", namespace, home, labels, spec, {**said, "token": False}, created)
        digest = hashlib.sha256(path.encode()).hexdigest()[:32]
        pod["metadata"]["annotations"] = {
            **{"kubernetes.io/config.hash": digest, "kubernetes.io/config.mirror": digest},
            **{"kubernetes.io/config.source": "file", "kubernetes.io/config.seen": created},
        }
        pod["metadata"]["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "Node", "name": home, "uid": uid("node", home), "controller": True}
        ]
        pod["spec"].pop("serviceAccountName", None)
        self.add("pods", pod)

    def _pod(
        self, name: str, namespace: str, home: str, labels: Object, spec: Object, said: Object, created: str
    ) -> Object:
        spec = copy.deepcopy(spec)
        node = self.get("nodes", home)
        address = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
        number = len(self.lists["pods"])
        spec["nodeName"] = home
        if said.get("token", True):
            volume = f"kube-api-access-{tail(namespace, name)}"
            spec.setdefault("volumes", []).append({"name": volume, "projected": TOKEN})
            where = "/var/run/secrets/kubernetes.io/serviceaccount"
            for container in (*spec["containers"], *spec.get("initContainers", ())):
                container.setdefault("volumeMounts", []).append({"name": volume, "mountPath": where, "readOnly": True})
        kinds = ["Initialized", "Ready", "ContainersReady", "PodScheduled"]
        if int(node["status"]["nodeInfo"]["kubeletVersion"].split(".")[1]) >= 29:
            kinds.insert(0, "PodReadyToStartContainers")
        status = {
            "phase": "Running",
            "conditions": [
                {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": created} for kind in kinds
            ],
            **{"startTime": created, "hostIP": address, "qosClass": "Burstable"},
            "podIP": address if spec.get("hostNetwork") else f"10.42.{number // 200}.{number % 200 + 2}",
            "containerStatuses": [_running(c, created) for c in spec["containers"]],
        }
        if "initContainers" in spec:
            status["initContainerStatuses"] = [_initialized(c, created) for c in spec["initContainers"]]
        status["conditions"] += [
            {"type": gate["conditionType"], "status": "True", "lastTransitionTime": created}
            for gate in spec.get("readinessGates", ())
        ]
        meta: Object = {
            "name": name,
            "namespace": namespace,
            "uid": uid("pod", namespace, name),
            "labels": dict(labels),
        }
        meta |= {"creationTimestamp": created, "annotations": said.get("podAnnotations", {})}
        return {"metadata": meta, "spec": spec, "status": status}

    # -- what leads to them

    def _service(self, path: str, said: Object) -> None:
        namespace, _, name = path.partition("/")
        meta: Object = {
            "name": name,
            "namespace": namespace,
            "uid": uid("service", path),
            "creationTimestamp": self._old,
        }
        meta |= {"labels": said.pop("labels", {}), "annotations": said.pop("annotations", {})}
        endpoints = said.pop("endpoints", None)
        writer = said.pop("writer", "endpointslice-controller.k8s.io" if endpoints is None else "")
        ports = [_service_port(p) for p in said.pop("ports", ())]
        spec = {"type": "ClusterIP", "ports": ports, "sessionAffinity": "None", **said}
        address = spec.pop("ingress", None)
        if spec["type"] != "ExternalName":
            spec.setdefault("clusterIP", f"10.43.{len(self.lists['services']) + 10}.7")
        service = {"metadata": meta, "spec": spec, "status": {}}
        if spec["type"] == "LoadBalancer":
            service["status"] = {"loadBalancer": {"ingress": [address or {"ip": "203.0.113.7"}]}}
        self.add("services", service)
        if spec.get("selector"):
            self._slice(service)
            made = self.lists["endpointslices"][-1]
        elif endpoints is not None:
            label = {"kubernetes.io/service-name": name}
            made = {
                "metadata": {
                    **{"name": name, "namespace": namespace, "uid": uid("slice", path), "labels": label},
                    **{"creationTimestamp": self._old},
                },
                "addressType": "IPv4",
                "endpoints": [{"addresses": [a], "conditions": {"ready": True}} for a in endpoints],
                "ports": [
                    {"name": p.get("name", ""), "port": p["targetPort"], "protocol": p["protocol"]} for p in ports
                ],
            }
            self.add("endpointslices", made)
        else:
            return
        if writer:
            made["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = writer

    def _webhooks(self, title: str, hooks: Mapping[str, Object]) -> None:
        kind, _, name = title.partition(" ")
        made = []
        for hook, said in hooks.items():
            where: Object = {"caBundle": "LS0tLS1CRUdJTg=="}
            if "service" in said:
                path, port, *rest = said["service"].split()
                namespace, _, service = path.partition("/")
                where["service"] = {
                    "namespace": namespace,
                    "name": service,
                    "port": int(port),
                    "path": (rest or ["/"])[0],
                }
            else:
                where["url"] = said["url"]
            every = {
                "apiGroups": ["*"],
                "apiVersions": ["*"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["pods"],
            }
            made.append(
                {
                    **{"name": hook, "clientConfig": where, "failurePolicy": said.get("policy", "Fail")},
                    **{"rules": said.get("rules", [every]), "namespaceSelector": said.get("namespaceSelector", {})},
                    **{"objectSelector": said.get("objectSelector", {}), "sideEffects": "None", "timeoutSeconds": 10},
                    **{"matchPolicy": "Equivalent", "admissionReviewVersions": ["v1"]},
                }
            )
        meta = {"name": name, "uid": uid(title), "creationTimestamp": self._old}
        self.add(f"{kind.lower()}webhookconfigurations", {"metadata": meta, "webhooks": made})

    def _apiservice(self, name: str, served: str | None) -> None:
        version, _, group = name.partition(".")
        spec: Object = {"group": group, "version": version, "groupPriorityMinimum": 2000, "versionPriority": 20}
        if served:
            path, port = served.split()
            namespace, _, service = path.partition("/")
            spec["service"] = {"namespace": namespace, "name": service, "port": int(port)}
        reason, message = (
            ("Passed", "all checks passed") if served else ("Local", "Local APIServices are always available")
        )
        available = {"type": "Available", "status": "True", "reason": reason, "message": message}
        available["lastTransitionTime"] = self._old
        meta = {"name": name, "uid": uid(name), "creationTimestamp": self._old}
        self.add("apiservices", {"metadata": meta, "spec": spec, "status": {"conditions": [available]}})

    # -- what is in every cluster

    def _system_namespaces(self) -> None:
        for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
            self._namespace(name)

    def _namespace(self, name: str) -> None:
        meta: Object = {"name": name, "uid": uid("ns", name), "creationTimestamp": self._old}
        meta["labels"] = {"kubernetes.io/metadata.name": name}
        self.add(
            "namespaces", {"metadata": meta, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        )

    def _surroundings(self) -> None:
        """Namespaces, accounts and ConfigMaps, as far as something of them is used and not written down."""
        have = {n["metadata"]["name"] for n in self.lists["namespaces"]}
        used = {o["metadata"].get("namespace", "") for key in self.lists for o in self.lists[key]} - {""}
        for name in sorted(used - have):
            self._namespace(name)
        accounts = {(n["metadata"]["name"], "default") for n in self.lists["namespaces"]}
        maps = {(n["metadata"]["name"], "kube-root-ca.crt") for n in self.lists["namespaces"]}
        for namespace, spec in self._pod_specs():
            accounts.add((namespace, spec.get("serviceAccountName", "default")))
            maps |= {(namespace, name) for name in _named_maps(spec)}
        for key, wanted in (("serviceaccounts", accounts), ("configmaps", maps)):
            present = {(o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in self.lists[key]}
            for namespace, name in sorted(wanted - present):
                meta = {"name": name, "namespace": namespace, "uid": uid(key, namespace, name)}
                made: Object = {"metadata": {**meta, "creationTimestamp": self._old}}
                if key == "configmaps":
                    made["data"] = {"ca.crt": "…"} if name == "kube-root-ca.crt" else {}
                self.add(key, made)

    def _pod_specs(self) -> Iterator[tuple[str, Object]]:
        for pod in self.lists["pods"]:
            yield pod["metadata"]["namespace"], pod["spec"]
        for key in _LISTS.values():
            for item in self.lists[key]:
                yield item["metadata"]["namespace"], item["spec"]["template"]["spec"]

    # -- breaking things

    def of(self, kind: str, path: str) -> list[Object]:
        """The pods of a workload."""
        namespace, _, name = path.partition("/")
        top = self.get(_LISTS[kind], name, namespace)
        owners = {top["metadata"]["uid"]}
        owners |= {r["metadata"]["uid"] for r in self.lists["replicasets"] if _controller(r) in owners}
        return [p for p in self.lists["pods"] if _controller(p) in owners]

    def crash(self, pod: Object, container: str, said: str = "", code: int = 1) -> None:
        """A container that ends each time it is started; with ``said`` as the last line of its log."""
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        ended = {
            "exitCode": code,
            "reason": "Error",
            "startedAt": self.ago(seconds=90),
            "finishedAt": self.ago(minutes=1),
        }
        waits = {"reason": "CrashLoopBackOff", "message": f"back-off 5m0s restarting failed container={container}"}
        for key in ("containerStatuses", "initContainerStatuses"):
            for status in pod["status"].get(key, ()):
                if status["name"] == container:
                    status.update(ready=False, started=False, restartCount=7)
                    status.update(state={"waiting": waits}, lastState={"terminated": ended})
                    if key == "initContainerStatuses":
                        pod["status"]["phase"] = "Pending"
        self.unready(pod, minutes=9)
        if said:
            self.log(f"{namespace}/{name}/{container}/previous", f"{self.ago(minutes=1)} {said}\n")

    def no_network(self, pod: Object, node: str, said: str) -> None:
        """A pod whose sandbox gets no network on that node."""
        pod["spec"]["nodeName"] = node
        self.fresh(pod, starting=True, minutes=6)
        for condition in pod["status"]["conditions"]:
            if condition["type"] == "PodReadyToStartContainers":
                condition["status"] = "False"
        path = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        self.event(
            "Pod", path, "FailedCreatePodSandBox", f"Failed to create pod sandbox: rpc error: {said}", seconds=20
        )

    def zero(self, path: str) -> None:
        """Scale a Deployment to nothing."""
        for pod in self.of("Deployment", path):
            self.lists["pods"].remove(pod)
        namespace, _, name = path.partition("/")
        top = self.get("deployments", name, namespace)
        top["spec"]["replicas"] = 0
        for replicaset in self.lists["replicasets"]:
            if _controller(replicaset) == top["metadata"]["uid"]:
                replicaset["spec"]["replicas"] = 0

    def mute(self, api: str, reason: str, message: str) -> None:
        """An aggregated API that does not answer."""
        (state,) = self.get("apiservices", api)["status"]["conditions"]
        state.update(status="False", reason=reason, message=message, lastTransitionTime=self.ago(minutes=9))


def _controller(item: Object) -> str:
    return next((str(o["uid"]) for o in item["metadata"].get("ownerReferences", ()) if o.get("controller")), "")


ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
TOKEN = {
    "defaultMode": 420,
    "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ],
}


def _containers(said: Mapping[str, Any]) -> Iterator[Object]:
    for name, what in said.items():
        container = {"image": what} if isinstance(what, str) else copy.deepcopy(what)
        ports = []
        for port in container.pop("ports", ()):
            words = str(port).split()
            number, _, protocol = words[-1].partition("/")
            made: Object = {"containerPort": int(number), "protocol": protocol or "TCP"}
            ports.append({"name": words[0], **made} if len(words) > 1 else made)
        yield {"name": name, "imagePullPolicy": "IfNotPresent", **container, **({"ports": ports} if ports else {})}


def _running(container: Object, created: str) -> Object:
    digest = hashlib.sha256(container["image"].encode()).hexdigest()
    return {
        **{"name": container["name"], "image": container["image"], "imageID": f"{container['image']}@sha256:{digest}"},
        **{"containerID": f"containerd://{digest}", "ready": True, "started": True, "restartCount": 0},
        **{"state": {"running": {"startedAt": created}}, "lastState": {}},
    }


def _initialized(container: Object, created: str) -> Object:
    if container.get("restartPolicy") == "Always":
        return _running(container, created)
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": created, "finishedAt": created}
    return {**_running(container, created), "started": False, "state": {"terminated": ended}}


def finish(pod: Object, when: str) -> None:
    """A pod whose work is done."""
    pod["status"]["phase"] = "Succeeded"
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": when, "finishedAt": when}
    for status in pod["status"]["containerStatuses"]:
        status.update(ready=False, started=False, state={"terminated": ended})
    for condition in pod["status"]["conditions"]:
        if condition["type"] in ("Ready", "ContainersReady"):
            condition.update(status="False", reason="PodCompleted", lastTransitionTime=when)
    pod["spec"]["restartPolicy"] = "OnFailure"


def _service_port(said: str | int) -> Object:
    """``name 53/UDP target``, or less of it."""
    words = str(said).split()
    named = [] if words[0].partition("/")[0].isdigit() else [words.pop(0)]
    number, _, protocol = words[0].partition("/")
    target: int | str = words[1] if len(words) > 1 else number
    made: Object = {"port": int(number), "protocol": protocol or "TCP"}
    made["targetPort"] = int(target) if str(target).isdigit() else target
    return {"name": named[0], **made} if named else made


def _named_maps(spec: Object) -> Iterator[str]:
    for volume in spec.get("volumes", ()):
        for source in (volume, *volume.get("projected", {}).get("sources", ())):
            found = source.get("configMap", {})
            if found and not found.get("optional"):
                yield found["name"]
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        for source in container.get("envFrom", ()):
            if "configMapRef" in source and not source["configMapRef"].get("optional"):
                yield source["configMapRef"]["name"]
