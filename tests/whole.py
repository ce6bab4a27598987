"""A whole healthy cluster in memory, to be broken in one place and looked at as a run would.

The recording ``healthy-nodes`` is a kubeadm cluster of three nodes with a small application, read over the API and
over SSH. A test changes what a fault changes, adds what comes of it, and ``verdict()`` says what kdiag makes of it all.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from kdiag.collect.snapshot import Snapshot
from kdiag.engine.correlate import Node
from kdiag.engine.intake import needed, sources
from kdiag.engine.library import checks
from kdiag.engine.verdict import Verdict, judge
from kdiag.facts.hosts import UNREADABLE
from kdiag.model.observation import Observation
from tests.recording import FIXTURES, facts_of

Object = dict[str, Any]
_KINDS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets", "Job": "jobs"}


class Whole:
    """The observations of one cluster, by object and by node, open to change."""

    def __init__(self, recording: str = "healthy-nodes") -> None:
        self.lists: dict[str, list[Object]] = {}
        self.other: list[Observation] = []
        self.logs: dict[str, Observation] = {}
        self.hosts: dict[str, dict[tuple[str, str], Observation]] = {}
        self.dead_of = ""
        self.refused: set[str] = set()
        for seen in Snapshot(FIXTURES / "clusters" / recording).observations():
            body = bytes(seen.body)
            if seen.source == "node":
                self.hosts.setdefault(seen.host, {})[seen.key, seen.name] = dataclasses.replace(seen, body=body)
            elif seen.key == "log" and seen.name:
                self.logs[seen.name] = dataclasses.replace(seen, body=body)
            elif body[:1] == b"{" and "items" in (document := json.loads(body)):
                self.lists.setdefault(seen.key, []).extend(document["items"] or [])
            else:
                self.other.append(dataclasses.replace(seen, body=body))
        run = next(o for o in self.other if o.key == "run")
        self.taken = datetime.fromisoformat(json.loads(bytes(run.body))["taken"])

    # -- time

    def ago(self, **past: float) -> str:
        """A moment before the run, as the API writes it."""
        return (self.taken - timedelta(**past)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    # -- objects

    def get(self, key: str, name: str, namespace: str = "") -> Object:
        """One object, to be changed in place."""
        for item in self.lists[key]:
            if item["metadata"]["name"] == name and item["metadata"].get("namespace", "") == namespace:
                return item
        raise LookupError(f"{key} {namespace}/{name}")

    def add(self, key: str, *items: Object) -> None:
        """Put objects in."""
        self.lists.setdefault(key, []).extend(items)

    def remove(self, key: str, name: str, namespace: str = "") -> None:
        """Take one object out."""
        self.lists[key].remove(self.get(key, name, namespace))

    def pods(self, namespace: str, prefix: str = "") -> list[Object]:
        """The pods of a namespace whose names begin so."""
        found = [p for p in self.lists["pods"] if p["metadata"]["namespace"] == namespace]
        return [p for p in found if p["metadata"]["name"].startswith(prefix)]

    def event(self, kind: str, path: str, reason: str, message: str, source: str = "kubelet", **past: float) -> None:
        """An event about an object, by default of a minute ago."""
        namespace, _, name = path.rpartition("/")
        when = self.ago(**(past or {"minutes": 1}))
        about = {"kind": kind, "namespace": namespace, "name": name}
        meta = {"namespace": namespace or "default", "name": f"{name}.{len(self.lists['events'])}"}
        meta["creationTimestamp"] = when
        self.add(
            "events",
            {
                **{"metadata": meta, "involvedObject": about, "reason": reason, "message": message, "type": "Warning"},
                **{"count": 3, "firstTimestamp": when, "lastTimestamp": when, "source": {"component": source}},
            },
        )

    def log(self, where: str, text: str) -> None:
        """What a container wrote: ``namespace/pod/container/current``."""
        self.logs[where] = Observation("api", "log", name=where, body=text.encode())

    def application(
        self, path: str, *, replicas: int = 1, nodes: Iterable[str] = ("w1",), image: str = "nginx:1.27", **spec: Any
    ) -> list[Object]:
        """A Deployment with its ReplicaSet and Running, Ready pods; the pods, to be broken."""
        namespace, _, name = path.partition("/")
        labels = {"app": name}
        container = {"name": name, "image": image, "ports": [{"containerPort": 80}], **spec.pop("container", {})}
        pod_spec = {"containers": [container], "serviceAccountName": "default", "restartPolicy": "Always", **spec}
        template = {"metadata": {"labels": labels}, "spec": pod_spec}
        old, wanted = (
            self.ago(hours=1),
            {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
        )
        meta = {"namespace": namespace, "labels": labels, "creationTimestamp": old, "generation": 1}
        revision = {"deployment.kubernetes.io/revision": "1"}
        self.add(
            "deployments",
            {
                "metadata": {**meta, "name": name, "uid": f"d-{path}", "annotations": revision},
                "spec": wanted,
                "status": {},
            },
        )
        owner = {"kind": "Deployment", "name": name, "uid": f"d-{path}", "controller": True}
        made = {**meta, "name": f"{name}-6b9f", "uid": f"r-{path}", "ownerReferences": [owner], "annotations": revision}
        self.add("replicasets", {"metadata": made, "spec": copy.deepcopy(wanted), "status": {}})
        homes = list(nodes)
        pods = [
            _pod(f"{name}-6b9f-{n}", namespace, copy.deepcopy(pod_spec), labels, f"r-{path}", f"{name}-6b9f", old)
            for n in range(replicas)
        ]
        for number, pod in enumerate(pods):
            pod["spec"]["nodeName"] = homes[number % len(homes)]
            pod["status"]["podIP"] = f"10.244.{1 + number % len(homes)}.{100 + len(self.lists['pods']) + number}"
        if namespace not in {n["metadata"]["name"] for n in self.lists["namespaces"]}:
            self.add("namespaces", {"metadata": {"name": namespace, "uid": namespace}, "status": {"phase": "Active"}})
            account = {"name": "default", "namespace": namespace, "uid": f"sa-{namespace}", "creationTimestamp": old}
            self.add("serviceaccounts", {"metadata": account})
        self.add("pods", *pods)
        return pods

    def service(self, path: str, port: int = 80, target: int | str = 80, **spec: Any) -> Object:
        """A Service for the application of the same name."""
        namespace, _, name = path.partition("/")
        ports = [{"name": "http", "port": port, "targetPort": target, "protocol": "TCP"}]
        address = f"10.96.7.{len(self.lists['services'])}"
        made = {
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": f"s-{path}",
                "creationTimestamp": self.ago(hours=1),
            },
            "spec": {"selector": {"app": name}, "ports": ports, "clusterIP": address, "type": "ClusterIP", **spec},
            "status": {},
        }
        self.add("services", made)
        for answers in self.hosts.values():
            answers.pop(("iptables-nat", ""), None)  # the recorded rules know nothing of it
        return made

    def waiting(
        self, pod: Object, reason: str, message: str = "", *, restarts: int = 0, code: int | None = None
    ) -> None:
        """A pod whose container does not run; with ``code``, because its program ended so."""
        name = pod["spec"]["containers"][0]["name"]
        last: Object = {}
        if code is not None:
            ended = {"exitCode": code, "reason": "Error" if code else "Completed"}
            last = {"terminated": {**ended, "startedAt": self.ago(seconds=62), "finishedAt": self.ago(seconds=60)}}
        pod["status"]["containerStatuses"] = [
            {
                **{"name": name, "ready": False, "started": False, "restartCount": restarts, "lastState": last},
                **{"image": pod["spec"]["containers"][0]["image"], "imageID": ""},
                "state": {"waiting": {"reason": reason, "message": message}},
            }
        ]
        pod["status"]["phase"] = "Pending" if code is None and not restarts else "Running"
        self.unready(pod)

    def unready(self, pod: Object, **past: float) -> None:
        """A pod that is not Ready, by default for five minutes."""
        when = self.ago(**(past or {"minutes": 5}))
        for condition in pod["status"]["conditions"]:
            if condition["type"] in ("Ready", "ContainersReady"):
                condition.update(status="False", lastTransitionTime=when, reason="ContainersNotReady")
        for status in pod["status"].get("containerStatuses", ()):
            status["ready"] = False

    def fresh(self, pod: Object, *, starting: bool = False, **past: float) -> None:
        """A pod made a moment ago, not Ready yet; with ``starting`` its container is still being made."""
        when = self.ago(**past)
        pod["metadata"]["creationTimestamp"] = pod["status"]["startTime"] = when
        for condition in pod["status"]["conditions"]:
            condition["lastTransitionTime"] = when
        for status in pod["status"]["containerStatuses"]:
            status.update(ready=False, started=False, restartCount=0, lastState={})
            status["state"] = (
                {"waiting": {"reason": "ContainerCreating"}} if starting else {"running": {"startedAt": when}}
            )
        if starting:
            pod["status"]["phase"] = "Pending"
            pod["status"].pop("podIP", None)
        self.unready(pod, **past)

    def pending(self, pod: Object, message: str = "", **past: float) -> None:
        """A pod without a node; with a message when a scheduler has looked at it."""
        pod["spec"].pop("nodeName", None)
        when = self.ago(**(past or {"minutes": 5}))
        pod["metadata"]["creationTimestamp"] = when
        scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        conditions = [{**scheduled, "lastTransitionTime": when}] if message else []
        pod["status"] = {"phase": "Pending", "conditions": conditions}

    def lost(self, name: str, reason: str = "NodeStatusUnknown", message: str = "", **past: float) -> Object:
        """A node that reports nothing any more, and the pods on it."""
        when = past or {"minutes": 3}
        node = self.get("nodes", name)
        silent = message or "Kubelet stopped posting node status."
        for condition in node["status"]["conditions"]:
            condition.update(status="Unknown", reason=reason, message=silent, lastTransitionTime=self.ago(**when))
            condition["lastHeartbeatTime"] = self.ago(**when)
        taints = [{"key": "node.kubernetes.io/unreachable", "effect": e} for e in ("NoSchedule", "NoExecute")]
        node["spec"].setdefault("taints", []).extend(taints)
        self.get("node-leases", name, "kube-node-lease")["spec"]["renewTime"] = self.ago(**when)
        for pod in self.lists["pods"]:
            if pod["spec"].get("nodeName") == name and pod["status"]["phase"] == "Running":
                for condition in pod["status"]["conditions"]:
                    if condition["type"] == "Ready":
                        condition.update(status="False", lastTransitionTime=self.ago(**when))
        return node

    def not_ready(self, name: str, message: str, reason: str = "KubeletNotReady", **past: float) -> Object:
        """A node that says itself that it is not Ready."""
        node = self.get("nodes", name)
        when = self.ago(**(past or {"minutes": 3}))
        for condition in node["status"]["conditions"]:
            if condition["type"] == "Ready":
                condition.update(status="False", reason=reason, message=message, lastTransitionTime=when)
        taints = [{"key": "node.kubernetes.io/not-ready", "effect": e} for e in ("NoSchedule", "NoExecute")]
        node["spec"].setdefault("taints", []).extend(taints)
        return node

    def idle(self, part: str, **past: float) -> None:
        """Nobody renews the Lease of a component, and nothing was made since."""
        lease = self.get("system-leases", part, "kube-system")
        lease["spec"]["renewTime"] = self.ago(**past).replace("Z", ".000000Z")
        self.lists["cronjobs"].clear()
        since = self.ago(**past)
        for pod in self.lists["pods"]:
            pod["metadata"]["creationTimestamp"] = min(pod["metadata"]["creationTimestamp"], since)

    def settle(self) -> None:
        """Do what the controllers do: count pods into their owners, and put them behind their Services."""
        for key in ("replicasets", "statefulsets", "daemonsets"):
            for owner in self.lists[key]:
                pods = [p for p in self._owned(owner) if "deletionTimestamp" not in p["metadata"]]
                ready = sum(map(_ready, pods))
                wanted = owner["spec"].get("replicas", 1)
                if key == "daemonsets":
                    wanted = owner["status"].get("desiredNumberScheduled", 0)
                    owner["status"].update(numberReady=ready, numberAvailable=ready, numberUnavailable=wanted - ready)
                else:
                    owner["status"].update(replicas=len(pods), readyReplicas=ready, availableReplicas=ready)
        for deployment in self.lists["deployments"]:
            made = [r for r in self.lists["replicasets"] if _owner(r) == deployment["metadata"]["uid"]]
            count = {
                k: sum(r["status"].get(k, 0) for r in made) for k in ("replicas", "readyReplicas", "availableReplicas")
            }
            short = count["availableReplicas"] < deployment["spec"].get("replicas", 1)
            available = {"type": "Available", "status": "False" if short else "True"}
            progress = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
            kept = [c for c in deployment["status"].get("conditions", ()) if c["type"] == "ReplicaFailure"]
            when = {"lastTransitionTime": self.ago(minutes=5), "lastUpdateTime": self.ago(minutes=5)}
            deployment["status"] = {
                **count,
                **{"observedGeneration": deployment["metadata"].get("generation", 1)},
                **{
                    "updatedReplicas": count["replicas"],
                    "conditions": [*kept, {**available, **when}, {**progress, **when}],
                },
            }
        for service in self.lists["services"]:
            if service["spec"].get("selector"):
                self._slice(service)

    def _owned(self, owner: Object) -> list[Object]:
        return [p for p in self.lists["pods"] if _owner(p) == owner["metadata"]["uid"]]

    def _slice(self, service: Object) -> None:
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        label = {"kubernetes.io/service-name": name}
        for old in [s for s in self.lists["endpointslices"] if _of(s, namespace, name)]:
            self.lists["endpointslices"].remove(old)
        wanted = service["spec"]["selector"].items()
        behind = [p for p in self.pods(namespace) if wanted <= p["metadata"].get("labels", {}).items()]
        endpoints, ports = [], []
        for pod in behind:
            if pod["status"].get("podIP") and pod["status"]["phase"] == "Running":
                target = {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": namespace}
                state = {"ready": _ready(pod), "serving": _ready(pod), "terminating": False}
                home = {"nodeName": pod["spec"]["nodeName"], "targetRef": target}
                endpoints.append({"addresses": [pod["status"]["podIP"]], "conditions": state, **home})
        for port in service["spec"]["ports"]:
            number = _number(port, behind)
            if number is not None:
                ports.append({"name": port.get("name", ""), "port": number, "protocol": port.get("protocol", "TCP")})
        meta = {"name": f"{name}-x1", "namespace": namespace, "labels": label, "uid": f"e-{namespace}/{name}"}
        meta["creationTimestamp"] = self.ago(hours=1)
        made = {"metadata": meta, "addressType": "IPv4", "endpoints": endpoints, "ports": ports}
        self.add("endpointslices", made)

    # -- nodes

    def answer(self, host: str, key: str, name: str = "") -> str:
        """What a node said to one command."""
        return bytes(self.hosts[host][key, name].body).decode()

    def say(self, host: str, key: str, text: str, name: str = "") -> None:
        """Let a node say something else."""
        self.hosts[host][key, name] = Observation("node", key, host, name=name, body=text.encode())

    def swap(self, host: str, key: str, old: str, new: str, name: str = "") -> None:
        """Change one word in what a node says."""
        text = self.answer(host, key, name)
        assert old in text, (host, key, name, old)
        self.say(host, key, text.replace(old, new), name)

    def fail(self, host: str, key: str, error: str, name: str = "", *, absent: bool = False) -> None:
        """Let a command on a node fail."""
        self.hosts[host][key, name] = Observation("node", key, host, name=name, error=error, absent=absent)

    def unreadable(self, host: str, error: str) -> None:
        """A node that kdiag does not reach."""
        self.hosts[host] = {(UNREADABLE, ""): Observation("node", UNREADABLE, host, error=error)}

    # -- the run

    def api_dead(self, error: str = "10.89.0.11:6443: connection refused") -> None:
        """No list and no document of the API is to be had; the nodes are read in its place."""
        self.dead_of = error

    def observations(self) -> Iterable[Observation]:
        """What a run would have seen."""
        for seen in self.other:
            if seen.key == "run" and self.dead_of:
                document = {**json.loads(bytes(seen.body)), "dead": self.dead_of}
                yield dataclasses.replace(seen, body=json.dumps(document).encode())
            elif self.dead_of and seen.key != "run":
                yield Observation("api", seen.key, error=self.dead_of)
            else:
                yield seen
        for key, items in self.lists.items():
            if self.dead_of or key in self.refused:
                yield Observation("api", key, error=self.dead_of or f"403 Forbidden: may not list {key}")
            else:
                yield Observation("api", key, body=json.dumps({"items": items}).encode())
        if not self.dead_of:
            yield from self.logs.values()
        for answers in self.hosts.values():
            yield from answers.values()

    def verdict(self, reading: str = "") -> Verdict:
        """What kdiag says of it; with ``reading``, what the checks say that ask for this."""
        chosen = [c for c in checks().values() if not c.risk]
        if reading:
            chosen = [c for c in chosen if reading in _asked()[c.id]]
        return judge(chosen, facts_of(iter(self.observations())), checks())


@cache
def _asked() -> dict[str, frozenset[str]]:
    """What each check reads, by the key of the source."""
    return {c.id: frozenset(s.key for s in sources(needed([c]))) for c in checks().values()}


def name_of(node: Node) -> str:
    """A finding as ``check kind/namespace/name``."""
    return f"{node.check.id} {node.finding.subject.kind}/{node.finding.subject.path}"


def tree(causes: Iterable[Node], depth: int = 0) -> str:
    """A verdict as text, for the message of a test that fails."""
    lines: list[str] = []
    for node in causes:
        lines.append(f"{'    ' * depth}{node.severity.name} {name_of(node)}: {node.finding.message}")
        lines.append(tree(node.symptoms, depth + 1))
    return "\n".join(line for line in lines if line)


def _ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


def _owner(item: Object) -> str:
    return next((str(o["uid"]) for o in item["metadata"].get("ownerReferences", ()) if o.get("controller")), "")


def _of(endpointslice: Object, namespace: str, service: str) -> bool:
    meta = endpointslice["metadata"]
    return bool(meta["namespace"] == namespace and meta.get("labels", {}).get("kubernetes.io/service-name") == service)


def _number(port: Mapping[str, Any], pods: Iterable[Object]) -> int | None:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for pod in pods:
        for container in pod["spec"]["containers"]:
            for one in container.get("ports", ()):
                if one.get("name") == target:
                    return int(one["containerPort"])
    return None


def _pod(name: str, namespace: str, spec: Object, labels: Object, owner: str, owned_by: str, old: str) -> Object:
    of = {"kind": "ReplicaSet", "name": owned_by, "uid": owner, "controller": True}
    meta = {
        "name": name,
        "namespace": namespace,
        "uid": f"p-{namespace}/{name}",
        "labels": labels,
        "ownerReferences": [of],
    }
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": old} for kind in kinds]
    first = spec["containers"][0]
    running = {"name": first["name"], "ready": True, "started": True, "restartCount": 0, "image": first["image"]}
    return {
        "metadata": {**meta, "creationTimestamp": old},
        "spec": spec,
        "status": {
            **{"phase": "Running", "conditions": conditions, "startTime": old},
            "containerStatuses": [
                {**running, "imageID": "x", "state": {"running": {"startedAt": old}}, "lastState": {}}
            ],
        },
    }
