"""What looks like a fault and is none: the traps of the catalogue, and healthy clusters of other kinds. All are silent.

Each takes the whole healthy cluster, makes of it what a healthy cluster may well be, and expects no finding but remarks.
"""

# ruff: noqa: E501  (a message is one line, as it was written)

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import pytest

from kdiag.model.result import Severity, Status
from tests.whole import Object, Whole, tree

TRAPS: dict[str, tuple[Callable[[], Whole], Severity]] = {}


def trap(name: str, most: Severity = Severity.INFO) -> Callable[[Callable[[], Whole]], Callable[[], Whole]]:
    """Register one: the number of the catalogue's trap, or the kind of cluster; ``most`` is what it may come to."""

    def keep(build: Callable[[], Whole]) -> Callable[[], Whole]:
        TRAPS[f"{name}-{build.__name__}"] = build, most
        return build

    return keep


@pytest.mark.parametrize("name", TRAPS)
def test_a_healthy_cluster_is_silent(name: str) -> None:
    build, most = TRAPS[name]
    found = build().verdict()
    assert [c for c in found.causes if c.worst > most] == [], tree(found.causes)
    assert found.of(Status.ERROR) == ()


# -- trap 40: what may not be read is unknown, neither a fault nor well


def test_a_list_that_may_not_be_read_is_no_fault() -> None:
    whole = Whole()
    for key in whole.lists:
        whole.refused = {key}
        found = whole.verdict(reading=key)
        assert found.causes == (), (key, tree(found.causes))
        assert not found.of(Status.ERROR), key


def test_a_command_that_a_node_refuses_is_no_fault() -> None:
    whole = Whole()
    kept = {host: dict(answers) for host, answers in whole.hosts.items()}
    for key in sorted({key for answers in kept.values() for key, _ in answers}):
        for host, answers in kept.items():
            for asked, name in answers:
                if asked == key:
                    whole.fail(host, asked, "sudo refused for kdiag", name)
        found = whole.verdict(reading=key)
        assert found.causes == (), (key, tree(found.causes))
        assert not found.of(Status.ERROR), key
        whole.hosts = {host: dict(answers) for host, answers in kept.items()}


# -- the catalogue's: workloads


@trap("01")
def completed_pods_of_jobs_and_a_failed_one_before_them() -> Whole:
    whole = Whole()
    for namespace, name in (("calm", "done"), ("calm", "second-try")):
        assert whole.pods(namespace, name)
    (hook,) = whole.application("team/hook")
    hook["metadata"].pop("ownerReferences")
    hook["metadata"]["annotations"] = {"helm.sh/hook": "pre-install"}
    hook["status"]["phase"] = "Succeeded"
    hook["spec"]["restartPolicy"] = "Never"
    done = {"exitCode": 0, "reason": "Completed", "startedAt": whole.ago(hours=1), "finishedAt": whole.ago(minutes=59)}
    hook["status"]["containerStatuses"][0].update(state={"terminated": done}, ready=False)
    whole.unready(hook, minutes=59)
    for key in ("deployments", "replicasets"):
        whole.lists[key] = [o for o in whole.lists[key] if o["metadata"]["namespace"] != "team"]
    return whole


@trap("02")
def evicted_leftovers_of_a_pressure_long_over() -> Whole:
    whole = Whole()
    pods = whole.application("team/web", replicas=2)
    old = pods[0]
    old["metadata"]["name"] = "web-6b9f-old"
    old["metadata"]["creationTimestamp"] = whole.ago(hours=5)
    old["status"] = {
        "phase": "Failed",
        "reason": "Evicted",
        "message": "The node was low on resource: memory. Threshold quantity: 100Mi, available: 61Mi. ",
    }
    old["status"]["startTime"] = whole.ago(hours=5)
    for key in ("deployments", "replicasets"):
        whole.get(key, "web" if key == "deployments" else "web-6b9f", "team")["spec"]["replicas"] = 1
    whole.settle()
    return whole


@trap("03")
def what_is_scaled_to_zero_suspended_or_paused() -> Whole:
    whole = Whole()
    whole.application("team/idle", replicas=0)
    whole.get("deployments", "idle", "team")["metadata"]["annotations"]["autoscaling.keda.sh/paused-replicas"] = "0"
    whole.application("team/held")
    whole.get("deployments", "held", "team")["spec"]["paused"] = True
    whole.settle()
    made = {"name": "off", "namespace": "team", "uid": "cj", "creationTimestamp": whole.ago(days=9)}
    job = {"template": {"spec": {"containers": [{"name": "r", "image": "busybox"}], "restartPolicy": "Never"}}}
    spec = {"schedule": "*/2 * * * *", "jobTemplate": {"spec": job}, "suspend": True}
    whole.add("cronjobs", {"metadata": made, "spec": spec, "status": {"lastScheduleTime": whole.ago(days=8)}})
    return whole


@trap("04")
def rollout_under_way() -> Whole:
    whole = Whole()
    pods = whole.application("team/web", replicas=3, nodes=("w1", "w2"))
    whole.service("team/web")
    deployment = whole.get("deployments", "web", "team")
    deployment["metadata"]["generation"] = 2
    deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "2"
    fresh = copy.deepcopy(whole.get("replicasets", "web-6b9f", "team"))
    fresh["metadata"] |= {"name": "web-77aa", "uid": "r-new", "creationTimestamp": whole.ago(seconds=25)}
    fresh["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "2"}
    fresh["spec"]["replicas"] = 1
    whole.add("replicasets", fresh)
    new = copy.deepcopy(pods[0])
    new["metadata"] |= {"name": "web-77aa-1", "uid": "p-new", "creationTimestamp": whole.ago(seconds=20)}
    new["metadata"]["ownerReferences"][0] |= {"uid": "r-new", "name": "web-77aa"}
    whole.fresh(new, starting=True, seconds=20)
    whole.add("pods", new)
    whole.settle()
    return whole


@trap("05")
def many_restarts_long_ago() -> Whole:
    whole = Whole()
    (pod,) = whole.application("team/web")
    (status,) = pod["status"]["containerStatuses"]
    ended = {"exitCode": 255, "reason": "Unknown", "startedAt": whole.ago(days=4), "finishedAt": whole.ago(days=3)}
    status.update(restartCount=41, lastState={"terminated": ended}, state={"running": {"startedAt": whole.ago(days=3)}})
    pod["metadata"]["creationTimestamp"] = whole.ago(days=60)
    whole.settle()
    return whole


@trap("06")
def init_containers_at_work_and_a_native_sidecar() -> Whole:
    whole = Whole()
    starting, running = whole.application("team/web", replicas=2, nodes=("w1", "w2"))
    sidecar = {"name": "proxy", "image": "busybox", "restartPolicy": "Always"}
    migrate = {"name": "migrate", "image": "busybox", "command": ["sh", "-c", "migrate"]}
    for pod in (starting, running):
        pod["spec"]["initContainers"] = [sidecar, migrate]
    starting["metadata"]["creationTimestamp"] = whole.ago(seconds=30)
    starting["status"].update(phase="Pending", startTime=whole.ago(seconds=30))
    starting["status"]["initContainerStatuses"] = [
        {
            "name": "proxy",
            "ready": True,
            "started": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": whole.ago(seconds=28)}},
        },
        {
            "name": "migrate",
            "ready": False,
            "restartCount": 0,
            "state": {"running": {"startedAt": whole.ago(seconds=26)}},
        },
    ]
    starting["status"]["containerStatuses"][0].update(
        state={"waiting": {"reason": "PodInitializing"}}, ready=False, started=False
    )
    for condition in starting["status"]["conditions"]:
        if condition["type"] != "PodScheduled":
            condition.update(status="False", lastTransitionTime=whole.ago(seconds=30))
    done = {"exitCode": 0, "reason": "Completed", "startedAt": whole.ago(hours=1), "finishedAt": whole.ago(hours=1)}
    running["status"]["initContainerStatuses"] = [
        {
            "name": "proxy",
            "ready": True,
            "started": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": whole.ago(hours=1)}},
        },
        {"name": "migrate", "ready": True, "restartCount": 0, "state": {"terminated": done}},
    ]
    whole.get("deployments", "web", "team")["metadata"]["creationTimestamp"] = whole.ago(seconds=31)
    whole.settle()
    return whole


@trap("07")
def readiness_gate_of_a_load_balancer_in_its_first_minute() -> Whole:
    whole = Whole()
    gate = "target-health.elbv2.k8s.aws/k8s-team-web-0123456789"
    old, new = whole.application("team/web", replicas=2, nodes=("w1", "w2"), readinessGates=[{"conditionType": gate}])
    for pod, state in ((old, "True"), (new, "False")):
        when = whole.ago(seconds=50) if state == "False" else whole.ago(hours=1)
        condition = {"type": gate, "status": state, "lastTransitionTime": when}
        if state == "False":
            condition |= {"reason": "Elb.RegistrationInProgress", "message": "Target registration is in progress"}
        pod["status"]["conditions"].append(condition)
    whole.fresh(new, seconds=60)
    new["status"]["containerStatuses"][0].update(ready=True, started=True)
    for condition in new["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition["reason"] = "ReadinessGatesNotReady"
        elif condition["type"] == "ContainersReady":
            condition["status"] = "True"
    whole.settle()
    return whole


@trap("08")
def claim_that_waits_for_its_first_consumer_and_gated_pod() -> Whole:
    whole = Whole()
    whole.add(
        "storageclasses",
        {
            "metadata": {"name": "wait"},
            "provisioner": "rancher.io/local-path",
            "volumeBindingMode": "WaitForFirstConsumer",
        },
    )
    claim(whole, "team", "later", "wait")
    whole.event(
        "PersistentVolumeClaim",
        "team/later",
        "WaitForFirstConsumer",
        "waiting for first consumer to be created before binding",
        "persistentvolume-controller",
    )
    whole.lists["events"][-1]["type"] = "Normal"
    return whole


def claim(whole: Whole, namespace: str, name: str, storage_class: str) -> None:
    meta = {"name": name, "namespace": namespace, "uid": f"c-{name}", "creationTimestamp": whole.ago(hours=1)}
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    whole.add("persistentvolumeclaims", {"metadata": meta, "spec": spec, "status": {"phase": "Pending"}})
    if namespace not in {n["metadata"]["name"] for n in whole.lists["namespaces"]}:
        whole.add("namespaces", {"metadata": {"name": namespace, "uid": namespace}, "status": {"phase": "Active"}})


@trap("09")
def optional_references_and_a_pull_secret_that_nobody_needs() -> Whole:
    whole = Whole()
    env = [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "nowhere", "key": "a", "optional": True}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "nowhere", "key": "b", "optional": True}}},
    ]
    volumes = [{"name": "v", "configMap": {"name": "nowhere", "optional": True}}]
    whole.application("team/web", container={"env": env}, volumes=volumes, imagePullSecrets=[{"name": "regcred"}])
    whole.event(
        "Pod",
        "team/web-6b9f-0",
        "FailedToRetrieveImagePullSecret",
        "Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed.",
    )
    whole.settle()
    return whole


@trap("10")
def budget_of_a_single_replica() -> Whole:
    whole = Whole()
    whole.application("team/web")
    whole.settle()
    meta = {"name": "web", "namespace": "team", "creationTimestamp": whole.ago(hours=1), "generation": 1}
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    status = {
        "expectedPods": 1,
        "desiredHealthy": 1,
        "currentHealthy": 1,
        "disruptionsAllowed": 0,
        "observedGeneration": 1,
    }
    whole.add("poddisruptionbudgets", {"metadata": meta, "spec": spec, "status": status})
    return whole


@trap("11")
def autoscalers_that_are_fresh_or_of_nothing() -> Whole:
    whole = Whole()
    whole.application("team/web")
    whole.application("team/off", replicas=0)
    whole.settle()
    served = {
        "group": "metrics.k8s.io",
        "version": "v1beta1",
        "service": {"name": "metrics-server", "namespace": "kube-system"},
    }
    available = {"type": "Available", "status": "True", "reason": "Passed"}
    whole.application("kube-system/metrics-server")
    whole.service("kube-system/metrics-server", 443, 80)
    whole.settle()
    whole.add(
        "apiservices",
        {"metadata": {"name": "v1beta1.metrics.k8s.io"}, "spec": served, "status": {"conditions": [available]}},
    )
    for name, age, reason in (("web", 20, "FailedGetResourceMetric"), ("off", 3600, "ScalingDisabled")):
        when = whole.ago(seconds=age)
        why = {"type": "ScalingActive", "status": "False", "reason": reason, "message": "…", "lastTransitionTime": when}
        spec = {
            "scaleTargetRef": {"kind": "Deployment", "name": name, "apiVersion": "apps/v1"},
            "minReplicas": 1,
            "maxReplicas": 3,
        }
        spec["metrics"] = [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
            }
        ]
        meta = {"name": name, "namespace": "team", "creationTimestamp": when}
        status = {"currentReplicas": 0, "desiredReplicas": 0, "conditions": [why]}
        whole.add("horizontalpodautoscalers", {"metadata": meta, "spec": spec, "status": status})
    for pod in whole.pods("team", "web"):
        pod["metadata"]["creationTimestamp"] = whole.ago(seconds=25)
    return whole


@trap("12")
def cron_that_overlaps_and_pods_within_their_grace() -> Whole:
    whole = Whole()
    leaving, _ = whole.application("team/web", replicas=2)
    leaving["metadata"] |= {"deletionTimestamp": whole.ago(seconds=-50), "deletionGracePeriodSeconds": 60}
    leaving["spec"]["terminationGracePeriodSeconds"] = 60
    whole.unready(leaving, seconds=8)
    for key in ("deployments", "replicasets"):
        whole.get(key, "web" if key == "deployments" else "web-6b9f", "team")["spec"]["replicas"] = 1
    whole.settle()
    made = {"name": "report", "namespace": "team", "uid": "cj", "creationTimestamp": whole.ago(days=1)}
    job = {"template": {"spec": {"containers": [{"name": "r", "image": "busybox"}], "restartPolicy": "Never"}}}
    spec = {"schedule": "*/5 * * * *", "jobTemplate": {"spec": job}, "concurrencyPolicy": "Forbid"}
    owner = {"kind": "CronJob", "name": "report", "uid": "cj", "controller": True}
    at = {
        "name": "report-1",
        "namespace": "team",
        "uid": "j1",
        "creationTimestamp": whole.ago(minutes=24),
        "ownerReferences": [owner],
    }
    whole.add(
        "jobs",
        {
            "metadata": at,
            "spec": {"template": job["template"], "completions": 1},
            "status": {"active": 1, "startTime": whole.ago(minutes=24)},
        },
    )
    active = [{"kind": "Job", "name": "report-1", "namespace": "team", "uid": "j1"}]
    whole.add(
        "cronjobs",
        {"metadata": made, "spec": spec, "status": {"active": active, "lastScheduleTime": whole.ago(minutes=24)}},
    )
    whole.event(
        "CronJob",
        "team/report",
        "JobAlreadyActive",
        "Not starting job because prior execution is running and concurrency policy is Forbid",
        "cronjob-controller",
    )
    whole.lists["events"][-1]["type"] = "Normal"
    return whole


@trap("13")
def container_that_was_asked_to_stop_and_killed_after_its_grace() -> Whole:
    whole = Whole()
    (pod,) = whole.application("team/web")
    (status,) = pod["status"]["containerStatuses"]
    for code in (143,):
        ended = {
            "exitCode": code,
            "reason": "Error",
            "startedAt": whole.ago(hours=2),
            "finishedAt": whole.ago(minutes=3),
        }
        status.update(
            restartCount=1, lastState={"terminated": ended}, state={"running": {"startedAt": whole.ago(minutes=3)}}
        )
    whole.settle()
    return whole


# -- the catalogue's: Services and network


@trap("14-19")
def services_without_selector_external_headless_and_local() -> Whole:
    whole = Whole()
    names = {s["metadata"]["name"] for s in whole.lists["services"] if s["metadata"]["namespace"] == "calm"}
    assert {"by-hand", "outside", "leader", "local", "peers"} <= names
    whole.application("team/db", nodes=("w1",))
    db = whole.service("team/db", 5432, 80)
    db["spec"].update(clusterIP="None", publishNotReadyAddresses=True)
    local = whole.service("team/edge", 80, 80)
    whole.application("team/edge", nodes=("w2",))
    local["spec"].update(type="LoadBalancer", externalTrafficPolicy="Local")
    local["status"] = {"loadBalancer": {"ingress": [{"ip": "10.0.0.3"}]}}
    whole.settle()
    return whole


@trap("20")
def load_balancer_without_a_controller() -> Whole:
    whole = Whole()
    whole.application("team/web")
    whole.service("team/web")["spec"]["type"] = "LoadBalancer"
    whole.settle()
    return whole


@trap("21")
def ingress_without_a_class_where_one_is_the_default() -> Whole:
    whole = Whole()
    whole.application("team/web")
    whole.service("team/web")
    whole.settle()
    default = {"ingressclass.kubernetes.io/is-default-class": "true"}
    whole.add(
        "ingressclasses",
        {"metadata": {"name": "nginx", "annotations": default}, "spec": {"controller": "k8s.io/ingress-nginx"}},
    )
    backend = {"service": {"name": "web", "port": {"name": "http"}}}
    meta = {"name": "web", "namespace": "team", "creationTimestamp": whole.ago(hours=1)}
    whole.add(
        "ingresses",
        {
            "metadata": meta,
            "spec": {"defaultBackend": backend},
            "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.9"}]}},
        },
    )
    return whole


@trap("22")
def cilium_in_place_of_kube_proxy() -> Whole:
    whole = Whole()
    cilium(whole)
    return whole


def cilium(whole: Whole) -> None:
    """The lab with Cilium as its network, and no kube-proxy: no rules in iptables, other files."""
    without_proxy(whole)
    for item in [*whole.lists["daemonsets"], *whole.pods("kube-system", "labnet")]:
        if item["metadata"]["name"].startswith("labnet"):
            item["metadata"]["name"] = item["metadata"]["name"].replace("labnet", "cilium")
            item["metadata"]["labels"] = {"k8s-app": "cilium", "app.kubernetes.io/name": "cilium-agent"}
            for owner in item["metadata"].get("ownerReferences", ()):
                owner["name"] = "cilium"
            if "template" in item["spec"]:
                item["spec"]["template"]["metadata"]["labels"] = {"k8s-app": "cilium"}
                item["spec"]["selector"]["matchLabels"] = {"k8s-app": "cilium"}
    for host, answers in whole.hosts.items():
        answers.pop(("cni-config", "/etc/cni/net.d/10-labnet.conflist"), None)
        path = "/etc/cni/net.d/05-cilium.conflist"
        whole.say(host, "cni-files", f"{path}\n/etc/cni/net.d/10-labnet.conflist.cilium_bak\n")
        content = {"cniVersion": "0.3.1", "name": "cilium", "plugins": [{"type": "cilium-cni", "enable-debug": False}]}
        whole.say(host, "cni-config", json.dumps(content), path)
        for key in ("cni-programs", "cni-programs-all"):
            whole.say(host, key, whole.answer(host, key) + "/opt/cni/bin/cilium-cni\n")
        empty = "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n"
        whole.say(host, "iptables-nat", empty)
        whole.say(
            host,
            "routes",
            "\n".join(
                line
                for line in whole.answer(host, "routes").splitlines()
                if not line.startswith("10.244.") or "cni0" in line
            )
            + "\n",
        )


def without_proxy(whole: Whole) -> None:
    whole.remove("daemonsets", "kube-proxy", "kube-system")
    whole.remove("configmaps", "kube-proxy", "kube-system")
    whole.lists["pods"] = [p for p in whole.lists["pods"] if not p["metadata"]["name"].startswith("kube-proxy-")]
    whole.logs = {k: v for k, v in whole.logs.items() if "kube-proxy" not in k}


@trap("23")
def node_local_dns_cache() -> Whole:
    whole = Whole()
    for host in whole.hosts:
        path = "/var/lib/kubelet/config.yaml"
        whole.say(
            host,
            "kubelet-config",
            whole.answer(host, "kubelet-config", path).replace("10.96.0.10", "169.254.20.10"),
            path,
        )
    config = whole.get("configmaps", "kubelet-config", "kube-system")
    config["data"]["kubelet"] = config["data"]["kubelet"].replace("10.96.0.10", "169.254.20.10")
    daemonset = copy.deepcopy(whole.get("daemonsets", "kube-proxy", "kube-system"))
    daemonset["metadata"] |= {"name": "node-local-dns", "uid": "nld", "labels": {"k8s-app": "node-local-dns"}}
    spec = daemonset["spec"]["template"]["spec"]
    spec["containers"] = [
        {
            "name": "node-cache",
            "image": "registry.k8s.io/dns/k8s-dns-node-cache:1.23.0",
            "args": ["-localip", "169.254.20.10,10.96.0.10", "-conf", "/etc/Corefile"],
        }
    ]
    spec["volumes"] = []
    for labels in (daemonset["spec"]["selector"]["matchLabels"], daemonset["spec"]["template"]["metadata"]["labels"]):
        labels.clear()
        labels["k8s-app"] = "node-local-dns"
    whole.add("daemonsets", daemonset)
    for number, pod in enumerate(whole.pods("kube-system", "kube-proxy")):
        new = copy.deepcopy(pod)
        new["metadata"] |= {
            "name": f"node-local-dns-{number}",
            "uid": f"nld{number}",
            "labels": {"k8s-app": "node-local-dns"},
        }
        new["metadata"]["ownerReferences"][0] |= {"name": "node-local-dns", "uid": "nld"}
        new["spec"]["containers"] = spec["containers"]
        new["spec"]["volumes"] = []
        new["status"]["containerStatuses"][0]["name"] = "node-cache"
        whole.add("pods", new)
    (client,) = whole.application("team/web", dnsPolicy="None", dnsConfig={"nameservers": ["169.254.20.10"]})
    assert client
    whole.settle()
    return whole


@trap("24")
def coredns_before_its_network_in_a_cluster_minutes_old() -> Whole:
    whole = Whole()
    for pod in whole.pods("kube-system", "coredns"):
        where = f"kube-system/{pod['metadata']['name']}/coredns/current"
        text = bytes(whole.logs[where].body).decode() if where in whole.logs else ""
        late = whole.ago(minutes=30)
        whole.log(
            where,
            f'{late} [INFO] plugin/ready: Plugins not ready: "kubernetes"\n{late} [INFO] SIGTERM: Shutting down servers then terminating\n{late} [INFO] plugin/health: Going into lameduck mode for 5s\n{text}',
        )
    return whole


@trap("25", Severity.WARNING)
def policies_that_flannel_does_not_enforce() -> Whole:
    whole = Whole()
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    whole.add(
        "networkpolicies",
        {"metadata": {"name": "deny", "namespace": "shop", "creationTimestamp": whole.ago(hours=1)}, "spec": spec},
    )
    for item in [*whole.lists["daemonsets"], *whole.pods("kube-system", "labnet")]:
        if item["metadata"]["name"].startswith("labnet"):
            item["metadata"]["name"] = item["metadata"]["name"].replace("labnet", "kube-flannel-ds")
    return whole


@trap("26")
def too_many_nameservers_on_a_node() -> Whole:
    whole = Whole()
    whole.event(
        "Pod",
        "shop/webapp-7f5cf949b4-f2tdh",
        "DNSConfigForming",
        "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: 1.1.1.1 8.8.8.8 9.9.9.9",
    )
    return whole


# -- the catalogue's: nodes and the control plane


@trap("27-28")
def young_nodes_virtual_nodes_and_nodes_that_an_autoscaler_takes_away() -> Whole:
    whole = Whole()
    joined(whole, "w9", seconds=40)
    leaving = whole.get("nodes", "w2")
    leaving["spec"]["taints"] = [
        {"key": "ToBeDeletedByClusterAutoscaler", "value": str(int(whole.taken.timestamp())), "effect": "NoSchedule"},
        {"key": "DeletionCandidateOfClusterAutoscaler", "value": "1", "effect": "PreferNoSchedule"},
    ]
    return whole


def joined(whole: Whole, name: str, **past: float) -> Object:
    """A node that has just joined: not Ready yet, its DaemonSet pods on their way."""
    node = copy.deepcopy(whole.get("nodes", "w1"))
    when = whole.ago(**past)
    node["metadata"] |= {"name": name, "uid": f"n-{name}", "creationTimestamp": when}
    node["metadata"]["labels"] = {**node["metadata"]["labels"], "kubernetes.io/hostname": name}
    node["spec"] = {
        "podCIDR": "10.244.9.0/24",
        "podCIDRs": ["10.244.9.0/24"],
        "taints": [
            {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
            {"key": "node.cilium.io/agent-not-ready", "effect": "NoExecute"},
        ],
    }
    for address in node["status"]["addresses"]:
        address["address"] = "10.89.0.19" if address["type"] == "InternalIP" else name
    said = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized"
    for condition in node["status"]["conditions"]:
        condition["lastTransitionTime"] = when
        if condition["type"] == "Ready":
            condition.update(status="False", reason="KubeletNotReady", message=said)
    whole.add("nodes", node)
    lease = copy.deepcopy(whole.get("node-leases", "w1", "kube-node-lease"))
    lease["metadata"] |= {"name": name, "creationTimestamp": when}
    whole.add("node-leases", lease)
    for prefix, owner in (("kube-proxy", "kube-proxy"), ("labnet", "labnet")):
        old = next(p for p in whole.pods("kube-system", prefix) if p["spec"]["nodeName"] == "w1")
        pod = copy.deepcopy(old)
        pod["metadata"] |= {"name": f"{prefix}-new", "uid": f"{prefix}-new", "creationTimestamp": when}
        pod["spec"]["nodeName"] = name
        whole.fresh(pod, starting=True, **past)
        whole.add("pods", pod)
        daemonset = whole.get("daemonsets", owner, "kube-system")
        daemonset["status"].update(desiredNumberScheduled=4, currentNumberScheduled=4, numberUnavailable=1)
    return node


@trap("29", Severity.WARNING)
def node_cordoned_for_maintenance() -> Whole:
    whole = Whole()
    whole.get("nodes", "w2")["spec"].update(
        unschedulable=True,
        taints=[
            {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": whole.ago(minutes=20)}
        ],
    )
    whole.lists["poddisruptionbudgets"].clear()
    return whole


def managed(whole: Whole) -> None:
    """No control plane to be seen: no static pods, no nodes of it, nobody to ask over SSH."""
    whole.hosts.clear()
    whole.lists["pods"] = [
        p for p in whole.lists["pods"] if "kubernetes.io/config.mirror" not in p["metadata"].get("annotations", {})
    ]
    for pod in list(whole.lists["pods"]):
        if pod["spec"].get("nodeName") == "cp1":
            if pod["metadata"]["name"].startswith("coredns"):
                pod["spec"]["nodeName"] = "w2"
            else:
                whole.lists["pods"].remove(pod)
    whole.remove("nodes", "cp1")
    whole.remove("node-leases", "cp1", "kube-node-lease")
    for daemonset in whole.lists["daemonsets"]:
        count = len(
            [
                p
                for p in whole.lists["pods"]
                if p["metadata"].get("ownerReferences", [{}])[0].get("uid") == daemonset["metadata"]["uid"]
            ]
        )
        daemonset["status"].update(
            desiredNumberScheduled=count,
            currentNumberScheduled=count,
            numberReady=count,
            numberAvailable=count,
            updatedNumberScheduled=count,
        )
    for name in ("kubeadm-config", "kubelet-config"):
        whole.lists["configmaps"] = [c for c in whole.lists["configmaps"] if c["metadata"]["name"] != name]
    whole.settle()


@trap("30-31")
def eks_with_fargate() -> Whole:
    whole = Whole()
    managed(whole)
    fargate = joined(whole, "fargate-ip-10-0-1-7.ec2.internal", days=2)
    for pod in [p for p in whole.lists["pods"] if p["spec"].get("nodeName") == fargate["metadata"]["name"]]:
        whole.lists["pods"].remove(pod)
    for name in ("kube-proxy", "labnet"):
        whole.get("daemonsets", name, "kube-system")["status"].update(
            desiredNumberScheduled=2, currentNumberScheduled=2, numberUnavailable=0
        )
    fargate["metadata"]["labels"]["eks.amazonaws.com/compute-type"] = "fargate"
    fargate["spec"]["taints"] = [{"key": "eks.amazonaws.com/compute-type", "value": "fargate", "effect": "NoSchedule"}]
    fargate["spec"]["providerID"] = "aws:///eu-central-1a/x/fargate-ip-10-0-1-7"
    for condition in fargate["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition.update(status="True", reason="KubeletReady", message="kubelet is posting ready status")
    for lease in ("kube-controller-manager", "kube-scheduler"):
        whole.get("system-leases", lease, "kube-system")["spec"]["holderIdentity"] = (
            "ip-172-16-1-1.eu-central-1.compute.internal_x"
        )
    for name in ("eks-certificates-controller", "cp-vpc-resource-controller", "cloud-controller-manager"):
        lease_ = copy.deepcopy(whole.get("system-leases", "kube-scheduler", "kube-system"))
        lease_["metadata"]["name"] = name
        whole.add("system-leases", lease_)
    return whole


@trap("31")
def managed_control_plane_that_shows_no_leases() -> Whole:
    whole = Whole()
    managed(whole)
    whole.lists["system-leases"].clear()
    return whole


@trap("32")
def k3s() -> Whole:
    whole = Whole()
    managed(whole)
    without_proxy(whole)
    for node in whole.lists["nodes"]:
        node["status"]["nodeInfo"]["kubeletVersion"] = "v1.36.1+k3s1"
        node["metadata"]["labels"]["node.kubernetes.io/instance-type"] = "k3s"
    whole.remove("daemonsets", "labnet", "kube-system")
    whole.lists["pods"] = [p for p in whole.lists["pods"] if not p["metadata"]["name"].startswith("labnet")]
    whole.lists["system-leases"] = [
        lease for lease in whole.lists["system-leases"] if lease["metadata"]["name"].startswith("apiserver")
    ]
    return whole


@trap("33")
def standby_schedulers_of_three_control_planes() -> Whole:
    whole = Whole()
    for part in ("kube-scheduler", "kube-controller-manager"):
        where = f"kube-system/{part}-cp1/{part}/current"
        whole.log(
            where,
            f"{whole.ago(hours=2)} I1122 09:05:01.000000       1 leaderelection.go:257] attempting to acquire leader lease kube-system/{part}...\n",
        )
    return whole


@trap("36")
def sandbox_made_anew_and_image_collection_at_the_start_of_a_kubelet() -> Whole:
    whole = Whole()
    whole.event(
        "Pod", "shop/mysql-855ddc757f-nz8m9", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."
    )
    whole.event("Node", "w2", "InvalidDiskCapacity", "invalid capacity 0 on image filesystem")
    text = whole.answer("w2", "journal-kubelet")
    line = text.splitlines()[-1]
    stamp = line.partition("]: ")[0] + "]: "
    whole.say(
        "w2",
        "journal-kubelet",
        text
        + stamp
        + 'E1122 11:07:01.000000  141105 kubelet.go:1507] "Image garbage collection failed once. Stats initialization may not have completed yet" err="invalid capacity 0 on image filesystem"\n',
    )
    return whole


@trap("37")
def etcd_that_is_slow_once_and_knocked_at_by_a_load_balancer() -> Whole:
    whole = Whole()
    for (key, name), seen in list(whole.hosts["cp1"].items()):
        if key == "etcd-log":
            when = whole.ago(minutes=4).replace("Z", ".000000000Z")
            lines = [
                {
                    "level": "warn",
                    "ts": when,
                    "caller": "txn/util.go:93",
                    "msg": "apply request took too long",
                    "took": "203.1ms",
                },
                {
                    "level": "warn",
                    "ts": when,
                    "caller": "embed/config_logging.go:188",
                    "msg": "rejected connection on client endpoint",
                    "remote-addr": "10.89.0.1:4",
                    "error": "EOF",
                },
            ]
            extra = "".join(f"{when} stderr F {json.dumps(one)}\n" for one in lines)
            whole.say("cp1", key, bytes(seen.body).decode() + extra, name)
    return whole


@trap("38")
def dot_files_and_folders_beside_the_manifests() -> Whole:
    whole = Whole()
    files = whole.answer("cp1", "manifest-files")
    line = next(li for li in files.splitlines() if "manifests/etcd.yaml" in li)
    more = [
        line.replace("etcd.yaml", ".etcd.yaml.swp"),
        line.replace("f\tf\t", "d\td\t", 1).replace("etcd.yaml", "old"),
    ]
    whole.say("cp1", "manifest-files", files + "\n".join(more) + "\n")
    return whole


@trap("39")
def events_older_than_what_they_speak_of() -> Whole:
    whole = Whole()
    (pod,) = whole.application("team/web")
    path = f"team/{pod['metadata']['name']}"
    for reason, message in (
        (
            "Failed",
            'Failed to pull image "nginx:1.27": rpc error: code = NotFound desc = failed to pull and unpack image "docker.io/library/nginx:1.27": docker.io/library/nginx:1.27: not found',
        ),
        ("BackOff", "Back-off restarting failed container web in pod web"),
        ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
        ("FailedScheduling", "0/3 nodes are available: 3 Insufficient cpu."),
        ("FailedMount", 'MountVolume.SetUp failed for volume "x" : configmap "y" not found'),
        (
            "FailedCreatePodSandBox",
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox",
        ),
        (
            "FailedAttachVolume",
            'Multi-Attach error for volume "pvc-1" Volume is already exclusively attached to one node and can\'t be attached to another',
        ),
    ):
        whole.event("Pod", path, reason, message, minutes=40)
    whole.event(
        "ReplicaSet",
        "team/web-6b9f",
        "FailedCreate",
        'Error creating: pods "web-6b9f-x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1',
        "replicaset-controller",
        minutes=40,
    )
    whole.event("Node", "w1", "NodeNotReady", "Node w1 status is now: NodeNotReady", "node-controller", minutes=40)
    whole.settle()
    return whole


@trap("41")
def volumes_released_and_unused_and_a_claim_that_a_pod_still_uses() -> Whole:
    whole = Whole()
    kept = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "",
        "hostPath": {"path": "/srv"},
        "persistentVolumeReclaimPolicy": "Retain",
    }
    old = {"kind": "PersistentVolumeClaim", "namespace": "gone", "name": "data", "uid": "u0"}
    for name, phase, claim_ref in (("kept", "Released", old), ("spare", "Available", None)):
        spec = {**kept, **({"claimRef": claim_ref} if claim_ref else {})}
        whole.add(
            "persistentvolumes",
            {
                "metadata": {"name": name, "uid": name, "creationTimestamp": whole.ago(days=9)},
                "spec": spec,
                "status": {"phase": phase},
            },
        )
    return whole


@trap("42")
def conditions_that_are_well_when_false() -> Whole:
    whole = Whole()
    for node in whole.lists["nodes"]:
        for name in (
            "KernelDeadlock",
            "ReadonlyFilesystem",
            "FrequentKubeletRestart",
            "CorruptDockerOverlay2",
            "NetworkUnavailable",
        ):
            node["status"]["conditions"].append(
                {
                    "type": name,
                    "status": "False",
                    "reason": "Fine",
                    "message": "is fine",
                    "lastTransitionTime": whole.ago(days=3),
                    "lastHeartbeatTime": whole.ago(seconds=30),
                }
            )
    return whole


@trap("44")
def leases_that_removed_operators_left() -> Whole:
    whole = Whole()
    for name in ("old-operator-lock", "cert-manager-controller", "ingress-nginx-leader"):
        lease = copy.deepcopy(whole.get("system-leases", "kube-scheduler", "kube-system"))
        lease["metadata"]["name"] = name
        lease["spec"].update(renewTime=whole.ago(days=90).replace("Z", ".000000Z"), holderIdentity="gone")
        whole.add("system-leases", lease)
    return whole


# -- further


@trap("more")
def api_server_that_has_just_come_back() -> Whole:
    whole = Whole()
    for lease in whole.lists["system-leases"]:
        if lease["metadata"]["name"].startswith("apiserver"):
            lease["metadata"]["creationTimestamp"] = whole.ago(seconds=4)
        else:
            lease["spec"]["renewTime"] = whole.ago(minutes=7).replace("Z", ".000000Z")
    for lease in whole.lists["node-leases"]:
        lease["spec"]["renewTime"] = whole.ago(minutes=7).replace("Z", ".000000Z")
    for pod in whole.lists["pods"]:
        pod["metadata"]["creationTimestamp"] = min(pod["metadata"]["creationTimestamp"], whole.ago(minutes=8))
    whole.get("cronjobs", "every-minute", "calm")["status"]["lastScheduleTime"] = whole.ago(minutes=8)
    return whole


@trap("more")
def node_that_has_just_joined() -> Whole:
    whole = Whole()
    joined(whole, "w9", seconds=80)
    return whole


@trap("more")
def autoscaler_that_brings_a_node() -> Whole:
    whole = Whole()
    _, new = whole.application("team/web", replicas=2)
    whole.pending(
        new,
        "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 Insufficient cpu. preemption: 0/3 nodes are available",
        seconds=50,
    )
    new["metadata"]["creationTimestamp"] = whole.ago(seconds=50)
    for container in new["spec"]["containers"]:
        container["resources"] = {"requests": {"cpu": "1900m"}}
    whole.event(
        "Pod",
        f"team/{new['metadata']['name']}",
        "TriggeredScaleUp",
        "pod triggered scale-up: [{eks-workers-1 2->3 (max: 10)}]",
        "cluster-autoscaler",
        seconds=45,
    )
    whole.lists["events"][-1]["type"] = "Normal"
    whole.settle()
    return whole


@trap("more")
def autoscaler_that_takes_its_time() -> Whole:
    whole = Whole()
    pods = whole.application("team/web", replicas=2) + whole.application("team/gpu", nodeSelector={"pool": "gpu"})
    whole.service("team/gpu")
    for pod, reason, said in (
        (pods[1], "TriggeredScaleUp", "pod triggered scale-up: [{eks-workers-1 2->3 (max: 10)}]"),
        (pods[2], "Nominated", "Pod should schedule on: nodeclaim/gpu-x8d2k"),
    ):
        why = (
            "2 Insufficient cpu"
            if reason == "TriggeredScaleUp"
            else "2 node(s) didn't match Pod's node affinity/selector"
        )
        whole.pending(pod, f"0/3 nodes are available: 1 node(s) had untolerated taint(s), {why}.", minutes=4)
        for container in pod["spec"]["containers"]:
            container["resources"] = {"requests": {"cpu": "1900m"}}
        whole.event("Pod", f"team/{pod['metadata']['name']}", reason, said, "cluster-autoscaler", minutes=3)
        whole.lists["events"][-1]["type"] = "Normal"
    whole.settle()
    return whole


@trap("more")
def large_images_that_take_minutes_to_pull() -> Whole:
    whole = Whole()
    pods = whole.application("team/web", replicas=2, nodes=("w1", "w2"))
    whole.fresh(pods[1], starting=True, minutes=4)
    pods[1]["status"]["conditions"].append(
        {"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": whole.ago(minutes=4)}
    )
    whole.event(
        "Pod",
        f"team/{pods[1]['metadata']['name']}",
        "Pulling",
        'Pulling image "registry.example.com/ml/train:9"',
        minutes=4,
    )
    whole.lists["events"][-1]["type"] = "Normal"
    whole.settle()
    return whole


@trap("more")
def spot_node_that_is_taken_away() -> Whole:
    whole = Whole()
    node = whole.get("nodes", "w2")
    node["spec"]["unschedulable"] = True
    node["spec"]["taints"] = [
        {"key": "aws-node-termination-handler/spot-itn", "value": "x", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": whole.ago(seconds=40)},
    ]
    whole.lists["poddisruptionbudgets"].clear()
    pods = whole.application("team/web", replicas=2, nodes=("w2", "w1"))
    new = copy.deepcopy(pods[0])
    pods[0]["metadata"] |= {"deletionTimestamp": whole.ago(seconds=-20), "deletionGracePeriodSeconds": 30}
    new["metadata"] |= {"name": "web-6b9f-new", "uid": "new", "creationTimestamp": whole.ago(seconds=10)}
    new["spec"]["nodeName"] = "w1"
    whole.fresh(new, starting=True, seconds=10)
    whole.add("pods", new)
    whole.settle()
    return whole


@trap("more")
def autoscaler_at_work() -> Whole:
    whole = Whole()
    pods = whole.application("team/web", replicas=4, nodes=("w1", "w2"))
    for pod in pods[2:]:
        whole.fresh(pod, seconds=15)
    whole.service("team/web")
    whole.settle()
    return whole


@trap("more")
def image_that_could_not_be_pulled_and_then_could() -> Whole:
    whole = Whole()
    (pod,) = whole.application("team/web")
    pod["metadata"]["creationTimestamp"] = whole.ago(minutes=6)
    whole.event(
        "Pod",
        "team/web-6b9f-0",
        "Failed",
        'Failed to pull image "nginx:1.27": rpc error: code = Unknown desc = failed to do request: Head "https://registry-1.docker.io/v2/library/nginx/manifests/1.27": dial tcp: i/o timeout',
        minutes=5,
    )
    whole.event("Pod", "team/web-6b9f-0", "BackOff", 'Back-off pulling image "nginx:1.27"', minutes=4)
    whole.settle()
    return whole


@trap("more")
def components_that_changed_their_leader_once() -> Whole:
    whole = Whole()
    for part in ("kube-scheduler", "kube-controller-manager"):
        pod = whole.get("pods", f"{part}-cp1", "kube-system")
        (status,) = pod["status"]["containerStatuses"]
        ended = {"exitCode": 1, "reason": "Error", "startedAt": whole.ago(days=2), "finishedAt": whole.ago(minutes=8)}
        status.update(
            restartCount=1, lastState={"terminated": ended}, state={"running": {"startedAt": whole.ago(minutes=8)}}
        )
        whole.log(
            f"kube-system/{part}-cp1/{part}/previous",
            f'{whole.ago(minutes=8)} E1122 11:01:01.000000       1 x.go:440] "Leaderelection lost"\n',
        )
    return whole


@trap("more")
def finalizers_at_work() -> Whole:
    whole = Whole()
    leaving, _ = whole.application("team/web", replicas=2)
    leaving["metadata"] |= {
        "deletionTimestamp": whole.ago(seconds=10),
        "deletionGracePeriodSeconds": 30,
        "finalizers": ["batch.kubernetes.io/job-tracking"],
    }
    meta = {"name": "going", "uid": "g", "deletionTimestamp": whole.ago(seconds=15)}
    whole.add("namespaces", {"metadata": meta, "status": {"phase": "Terminating"}})
    for key in ("deployments", "replicasets"):
        whole.get(key, "web" if key == "deployments" else "web-6b9f", "team")["spec"]["replicas"] = 1
    whole.settle()
    return whole


@trap("more")
def cron_over_the_change_of_the_clocks() -> Whole:
    whole = Whole()
    made = {"name": "nightly", "namespace": "calm", "uid": "cj", "creationTimestamp": whole.ago(days=30)}
    job = {"template": {"spec": {"containers": [{"name": "r", "image": "busybox"}], "restartPolicy": "Never"}}}
    for name, schedule, zone in (
        ("nightly", "30 2 * * *", "Europe/Berlin"),
        ("monthly", "0 0 1 * *", "America/New_York"),
        ("never", "0 0 31 2 *", None),
    ):
        spec = {"schedule": schedule, "jobTemplate": {"spec": job}, **({"timeZone": zone} if zone else {})}
        ran = (
            {"lastScheduleTime": whole.ago(hours=9, minutes=39), "lastSuccessfulTime": whole.ago(hours=9, minutes=38)}
            if name == "nightly"
            else {"lastScheduleTime": "2026-11-01T04:00:00Z"}
            if name == "monthly"
            else {}
        )
        whole.add("cronjobs", {"metadata": {**made, "name": name, "uid": name}, "spec": spec, "status": ran})
    return whole


@trap("more")
def many_pods_that_come_and_go() -> Whole:
    whole = Whole()
    pods = whole.application("team/batch", replicas=40, nodes=("w1", "w2"))
    for number, pod in enumerate(pods):
        if number % 4 == 0:
            pod["metadata"] |= {"deletionTimestamp": whole.ago(seconds=-10), "deletionGracePeriodSeconds": 30}
        if number % 4 == 1:
            whole.pending(pod, seconds=2)
        if number % 4 == 2:
            whole.fresh(pod, starting=True, seconds=8)
    whole.settle()
    for condition in whole.get("deployments", "batch", "team")["status"]["conditions"]:
        condition["lastTransitionTime"] = condition["lastUpdateTime"] = whole.ago(seconds=10)
    return whole


@trap("more")
def cluster_without_the_internet() -> Whole:
    whole = Whole()
    whole.application("team/web", image="registry.local:5000/team/web:3")
    for pod in whole.pods("team"):
        pod["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent"
    for pod in whole.pods("kube-system", "coredns"):
        where = f"kube-system/{pod['metadata']['name']}/coredns/current"
        text = bytes(whole.logs[where].body).decode() if where in whole.logs else ""
        query = "[ERROR] plugin/errors: 2 time.nist.gov. A: read udp 10.244.0.2:40000->10.89.0.1:53: i/o timeout"
        whole.log(where, text + f"{whole.ago(minutes=9)} {query}\n")
    whole.settle()
    return whole


@trap("more")
def stateful_set_that_is_rolled_out_one_by_one() -> Whole:
    whole = Whole()
    (last,) = [p for p in whole.pods("calm", "set-1")]
    owner = whole.get("statefulsets", "set", "calm")
    owner["metadata"]["generation"] = owner["metadata"].get("generation", 1) + 1
    owner["status"].update(
        observedGeneration=owner["metadata"]["generation"],
        updateRevision="set-2",
        currentRevision="set-1",
        updatedReplicas=1,
        readyReplicas=1,
        availableReplicas=1,
    )
    last["metadata"]["labels"]["controller-revision-hash"] = "set-2"
    whole.fresh(last, seconds=12)
    whole.settle()
    owner["status"].update(updateRevision="set-2", currentRevision="set-1", updatedReplicas=1)
    return whole


@trap("more")
def canary_ingress_that_is_given_no_request() -> Whole:
    """Flagger between two releases: the primary answers, its own Deployment is at zero behind the canary."""
    whole = Whole()
    whole.application("team/shop-primary")
    whole.application("team/shop", replicas=0)
    whole.service("team/shop")["spec"]["selector"] = {"app": "shop-primary"}
    whole.service("team/shop-canary")["spec"]["selector"] = {"app": "shop"}
    whole.add("ingressclasses", {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}})
    canary = "nginx.ingress.kubernetes.io/canary"
    for name, service, notes in (
        ("shop", "shop", {}),
        ("shop-canary", "shop-canary", {canary: "true", f"{canary}-weight": "0"}),
    ):
        meta = {"name": name, "namespace": "team", "creationTimestamp": whole.ago(hours=1), "annotations": notes}
        backend = {"service": {"name": service, "port": {"number": 80}}}
        rule = {"host": "shop.example.com", "http": {"paths": [{"path": "/", "backend": backend}]}}
        whole.add("ingresses", {"metadata": meta, "spec": {"ingressClassName": "nginx", "rules": [rule]}})
    whole.settle()
    return whole


@trap("more")
def pod_that_somebody_ran_once_and_left() -> Whole:
    whole = Whole()
    (pod,) = whole.application("team/try")
    pod["metadata"].pop("ownerReferences")
    pod["metadata"]["creationTimestamp"] = whole.ago(days=3)
    pod["spec"]["restartPolicy"] = "Never"
    pod["status"]["phase"] = "Failed"
    ended = {"exitCode": 3, "reason": "Error", "startedAt": whole.ago(days=3), "finishedAt": whole.ago(days=3)}
    pod["status"]["containerStatuses"][0].update(state={"terminated": ended}, ready=False)
    whole.unready(pod, days=3)
    for key in ("deployments", "replicasets"):
        whole.lists[key] = [o for o in whole.lists[key] if o["metadata"]["namespace"] != "team"]
    return whole


@trap("more")
def shell_on_a_node_that_ended_with_the_code_of_its_last_command() -> Whole:
    whole = Whole()
    (pod,) = whole.application("team/try")
    pod["metadata"].pop("ownerReferences")
    pod["metadata"] |= {"name": "node-debugger-w1-x7q2p", "creationTimestamp": whole.ago(minutes=9)}
    pod["spec"]["restartPolicy"] = "Never"
    pod["status"]["phase"] = "Failed"
    ended = {"exitCode": 130, "reason": "Error", "startedAt": whole.ago(minutes=9), "finishedAt": whole.ago(minutes=2)}
    pod["spec"]["containers"][0]["name"] = "debugger"
    pod["status"]["containerStatuses"][0].update(name="debugger", state={"terminated": ended}, ready=False)
    whole.unready(pod, minutes=2)
    for key in ("deployments", "replicasets"):
        whole.lists[key] = [o for o in whole.lists[key] if o["metadata"]["namespace"] != "team"]
    return whole


@trap("more")
def node_kept_free_of_new_pods_for_a_week() -> Whole:
    whole = Whole()
    node = whole.get("nodes", "w2")
    node["spec"]["unschedulable"] = True
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": whole.ago(days=7)}
    node["spec"].setdefault("taints", []).append(taint)
    return whole


@trap("more")
def kubelet_that_was_restarted_a_moment_ago() -> Whole:
    whole = Whole()
    said = "[container runtime status check may not have completed yet, PLEG is not healthy: pleg has yet to be successful]"
    whole.not_ready("w2", said, seconds=8)
    return whole


@trap("more")
def volume_that_is_being_made() -> Whole:
    whole = Whole()
    (pod,) = whole.application("team/web", volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}])
    whole.pending(pod, "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.", seconds=20)
    whole.settle()
    made = {"name": "fast", "creationTimestamp": whole.ago(days=2)}
    whole.add("storageclasses", {"metadata": made, "provisioner": "ebs.csi.aws.com", "volumeBindingMode": "Immediate"})
    whole.add("csidrivers", {"metadata": {"name": "ebs.csi.aws.com"}})
    meta = {"name": "data", "namespace": "team", "uid": "c", "creationTimestamp": whole.ago(seconds=20)}
    size = {"requests": {"storage": "1Gi"}}
    spec = {"storageClassName": "fast", "accessModes": ["ReadWriteOnce"], "resources": size}
    whole.add("persistentvolumeclaims", {"metadata": meta, "spec": spec, "status": {"phase": "Pending"}})
    said = "Waiting for a volume to be created either by the external provisioner 'ebs.csi.aws.com' or manually"
    whole.event(
        "PersistentVolumeClaim",
        "team/data",
        "ExternalProvisioning",
        said,
        "persistentvolume-controller",
        seconds=15,
    )
    return whole


def _ingress(whole: Whole, name: str) -> None:
    whole.add("ingressclasses", {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}})
    backend = {"service": {"name": name, "port": {"number": 80}}}
    rule = {"host": f"{name}.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    whole.add(
        "ingresses",
        {
            "metadata": {"name": name, "namespace": "team", "creationTimestamp": whole.ago(days=2)},
            "spec": {"ingressClassName": "nginx", "rules": [rule]},
            "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.9"}]}},
        },
    )


@trap("more", Severity.WARNING)
def application_that_was_never_started_behind_its_ingress() -> Whole:
    whole = Whole()
    whole.application("team/web", replicas=0)
    whole.service("team/web")
    _ingress(whole, "web")
    whole.settle()
    return whole


@trap("more", Severity.WARNING)
def application_scaled_down_by_its_timetable() -> Whole:
    whole = Whole()
    whole.application("team/web", replicas=0)
    whole.service("team/web")
    _ingress(whole, "web")
    meta = whole.get("deployments", "web", "team")["metadata"]
    meta["annotations"]["downscaler/original-replicas"] = "2"
    meta["generation"] = 9
    whole.settle()
    return whole


@trap("more", Severity.WARNING)
def application_scaled_to_zero_weeks_ago() -> Whole:
    whole = Whole()
    whole.application("team/web", replicas=0)
    whole.service("team/web")
    _ingress(whole, "web")
    meta = whole.get("deployments", "web", "team")["metadata"]
    meta["generation"] = 4
    meta["managedFields"] = [
        {"manager": "kubectl-create", "operation": "Update", "time": whole.ago(days=30)},
        {"manager": "kubectl", "operation": "Update", "subresource": "scale", "time": whole.ago(days=20)},
        {
            "manager": "kube-controller-manager",
            "operation": "Update",
            "subresource": "status",
            "time": whole.ago(minutes=3),
        },
    ]
    whole.settle()
    return whole


@trap("more", Severity.WARNING)
def namespace_that_is_switched_off_as_a_whole() -> Whole:
    whole = Whole()
    for name in ("web", "api"):
        whole.application(f"team/{name}", replicas=0)
        whole.service(f"team/{name}")
        whole.get("deployments", name, "team")["metadata"]["generation"] = 5
    _ingress(whole, "web")
    whole.settle()
    return whole


@trap("more", Severity.WARNING)
def colour_that_rests_while_the_other_serves() -> Whole:
    whole = Whole()
    for colour, replicas in (("blue", 1), ("green", 0)):
        name = f"web-{colour}"
        pods = whole.application(f"team/{name}", replicas=replicas)
        labels = {"app": "web", "color": colour}
        whole.get("deployments", name, "team")["metadata"]["generation"] = 7
        for made in (whole.get("deployments", name, "team"), whole.get("replicasets", f"{name}-6b9f", "team")):
            made["spec"]["template"]["metadata"]["labels"] = labels
            made["spec"]["selector"] = {"matchLabels": labels}
        for pod in pods:
            pod["metadata"]["labels"] = labels
    whole.service("team/web", selector={"app": "web", "color": "blue"})
    whole.service("team/preview", selector={"app": "web", "color": "green"})
    _ingress(whole, "preview")
    whole.settle()
    return whole


@trap("more", Severity.WARNING)
def preview_of_a_rollout_that_has_none_at_present() -> Whole:
    whole = Whole()
    whole.application("team/web", replicas=0)
    whole.lists["deployments"] = [d for d in whole.lists["deployments"] if d["metadata"]["namespace"] != "team"]
    whole.get("replicasets", "web-6b9f", "team")["metadata"]["ownerReferences"][0] |= {"kind": "Rollout"}
    whole.service("team/web")
    _ingress(whole, "web")
    whole.settle()
    return whole


@trap("more")
def pods_of_which_one_leads_and_is_ready() -> Whole:
    whole = Whole()
    waits, leads = whole.application("team/operator", replicas=2, nodes=("w1", "w2"))
    probe = {"readinessProbe": {"httpGet": {"path": "/leader", "port": 80}}}
    for pod in (waits, leads):
        pod["spec"]["containers"][0].update(probe)
    whole.get("deployments", "operator", "team")["spec"]["template"]["spec"]["containers"][0].update(probe)
    whole.unready(waits, minutes=50)
    whole.log(
        f"team/{waits['metadata']['name']}/operator/current",
        f"{whole.ago(minutes=59)} I1123 10:00:00.000000       1 leaderelection.go:257]"
        " attempting to acquire leader lease team/operator...\n",
    )
    whole.service("team/operator")
    whole.settle()
    return whole


@trap("more")
def placeholder_pods_for_which_there_is_no_room_at_present() -> Whole:
    whole = Whole()
    pods = whole.application("team/overprovisioning", replicas=2, priority=-10)
    said = "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod."
    whole.pending(pods[0], said, minutes=40)
    whole.settle()
    return whole


@trap("more")
def daemons_of_a_node_that_was_scaled_away_a_moment_ago() -> Whole:
    whole = Whole()
    for pod in whole.lists["pods"]:
        made = any(o["kind"] == "DaemonSet" for o in pod["metadata"].get("ownerReferences", ()))
        if pod["spec"].get("nodeName") == "w2" and made:
            left = copy.deepcopy(pod)
            left["metadata"].update(name=pod["metadata"]["name"] + "-left", uid=pod["metadata"]["uid"] + "-left")
            left["spec"]["nodeName"] = "ip-10-0-3-7"
            whole.unready(left, minutes=2)
            whole.add("pods", left)
    return whole


@trap("more")
def replication_controllers_of_old_times() -> Whole:
    """One at work, one scaled to zero behind a Service that nobody uses now."""
    whole = Whole()
    (pod,) = whole.application("team/web")
    whole.service("team/web")
    whole.settle()
    labels = {"app": "web"}
    for key in ("deployments", "replicasets"):
        whole.lists[key] = [o for o in whole.lists[key] if o["metadata"]["namespace"] != "team"]
    pod["metadata"]["ownerReferences"] = [
        {"kind": "ReplicationController", "name": "web", "uid": "rc-web", "controller": True}
    ]
    for name, replicas in (("web", 1), ("old", 0)):
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": copy.deepcopy(pod["spec"])}
        meta = {"name": name, "namespace": "team", "uid": f"rc-{name}", "creationTimestamp": whole.ago(days=3)}
        count = {"replicas": replicas, "readyReplicas": replicas, "observedGeneration": 1}
        spec = {"replicas": replicas, "selector": labels, "template": template}
        whole.add("replicationcontrollers", {"metadata": meta, "spec": spec, "status": count})
    whole.service("team/old")
    return whole


@trap("more")
def client_of_a_database_that_has_just_come_up() -> Whole:
    whole = Whole()
    env = {"env": [{"name": "DB_HOST", "value": "db"}], "readinessProbe": {"httpGet": {"path": "/", "port": 80}}}
    (web,) = whole.application("team/web", container=env)
    (db,) = whole.application("team/db", nodes=("w2",))
    whole.service("team/db", port=3306, clusterIP="None")
    whole.fresh(web, seconds=50)
    whole.fresh(db, seconds=52)
    for pod in (db, web):
        for condition in pod["status"]["conditions"]:
            condition.update(status="True", lastTransitionTime=whole.ago(seconds=3))
        pod["status"]["containerStatuses"][0].update(ready=True, started=True)
    said = "dial tcp: lookup db on 10.96.0.10:53: no such host"
    lines = [
        f"{whole.ago(seconds=n)} ERROR Can't connect to MySQL server on 'db:3306': {said}" for n in range(46, 3, -3)
    ]
    whole.log(f"team/{web['metadata']['name']}/web/current", "\n".join(lines) + "\n")
    whole.settle()
    return whole


@trap("more")
def pods_that_wait_for_a_migration_which_is_at_work() -> Whole:
    whole = Whole()
    wait = {"name": "wait", "image": "k8s-wait-for", "args": ["job", "migrate"]}
    pods = whole.application("team/web", replicas=2, initContainers=[wait])
    began = whole.ago(minutes=6)
    for pod in pods:
        whole.fresh(pod, minutes=6)
        pod["status"]["phase"] = "Pending"
        pod["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "PodInitializing"}}
        running = {"name": "wait", "ready": False, "restartCount": 0, "state": {"running": {"startedAt": began}}}
        pod["status"]["initContainerStatuses"] = [running]
    whole.service("team/web")
    whole.settle()
    whole.get("deployments", "web", "team")["metadata"]["creationTimestamp"] = began
    (work,) = whole.application("team/migrate")
    for key in ("deployments", "replicasets"):
        whole.remove(key, "migrate" if key == "deployments" else "migrate-6b9f", "team")
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "migrate", "uid": "job", "controller": True}
    work["metadata"]["ownerReferences"] = [owner]
    meta = {"name": "migrate", "namespace": "team", "uid": "job", "creationTimestamp": began}
    status = {"active": 1, "ready": 1, "startTime": began}
    whole.add("jobs", {"metadata": meta, "spec": {"template": {"spec": work["spec"]}}, "status": status})
    return whole


@trap("more")
def pod_that_was_let_go_a_moment_ago_after_hours_in_a_queue() -> Whole:
    whole = Whole()
    (pod,) = whole.application("team/train")
    now = whole.ago(seconds=2)
    pod["metadata"]["creationTimestamp"] = whole.ago(hours=3)
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}
    pod["status"] = {"phase": "Pending", "conditions": [scheduled]}
    whole.service("team/train")
    whole.get("deployments", "train", "team")["metadata"]["creationTimestamp"] = whole.ago(hours=3)
    whole.settle()
    return whole
