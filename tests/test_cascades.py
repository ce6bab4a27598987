"""The cascades of the catalogue: a fault that shows in many places is one cause, with its effects folded below it.

Each builds a whole cluster with the cause and what comes of it, and says which finding must be first and alone, and
which must hang below it. What recordings of the lab show is in test_clusters.
"""

# ruff: noqa: E501  (a message is one line, as it was written)

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from kdiag.engine.correlate import correlate, reach
from kdiag.engine.evaluate import evaluate
from kdiag.engine.intake import Facts
from kdiag.engine.library import checks
from kdiag.engine.topology import Topology
from kdiag.engine.verdict import Verdict, judge
from tests.recording import FIXTURES, cluster_facts, fixture_facts
from tests.whole import Object, Whole, name_of, tree

Built = TypeVar("Built", Whole, str)
BACK_OFF = "back-off 5m0s restarting failed container"
VIP = "https://10.96.0.1:443"


@dataclass(frozen=True)
class Cascade:
    """One of them: its number in the catalogue, what it must come to, and how it is built."""

    id: str
    cause: str
    folds: tuple[str, ...]
    also: tuple[str, ...]
    build: Callable[[], Whole | str]


CASCADES: list[Cascade] = []


def cascade(
    number: str, cause: str, *folds: str, also: Iterable[str] = ()
) -> Callable[[Callable[[], Built]], Callable[[], Built]]:
    """Register one; ``also`` names further causes that are right."""

    def keep(build: Callable[[], Built]) -> Callable[[], Built]:
        CASCADES.append(Cascade(f"{number}-{build.__name__}", cause, folds, tuple(also), build))
        return build

    return keep


def looked_at(built: Whole | str) -> Verdict:
    if isinstance(built, Whole):
        return built.verdict()
    chosen = [c for c in checks().values() if not c.risk]
    return judge(chosen, cluster_facts(FIXTURES / "clusters" / built), checks())


@pytest.mark.parametrize("one", CASCADES, ids=lambda c: c.id)
def test_the_cause_is_first_and_alone_and_its_effects_are_below_it(one: Cascade) -> None:
    found = looked_at(one.build())
    shown = tree(found.causes)
    assert [name_of(c) for c in found.causes][:1] == [one.cause], shown
    assert {name_of(c) for c in found.causes[1:]} == set(one.also), shown
    below = {name_of(n) for n in found.causes[0].walk()} - {one.cause}
    assert set(one.folds) <= below, shown
    assert not [r for r in found.results if r.status.name == "ERROR"]


def crashing(whole: Whole, pod: Object, log: str = "", code: int = 1) -> None:
    whole.waiting(pod, "CrashLoopBackOff", BACK_OFF, restarts=6, code=code)
    meta, spec = pod["metadata"], pod["spec"]
    where = f"{meta['namespace']}/{meta['name']}/{spec['containers'][0]['name']}"
    if log:
        whole.log(f"{where}/previous", "".join(f"{whole.ago(seconds=60)} {line}\n" for line in log.splitlines()))


def initializing(whole: Whole, pod: Object) -> None:
    """A pod whose first init container has run for five minutes and does not end."""
    whole.waiting(pod, "PodInitializing")
    state = {"running": {"startedAt": whole.ago(minutes=5)}}
    first = {"name": pod["spec"]["initContainers"][0]["name"], "ready": False, "restartCount": 0, "state": state}
    pod["status"]["initContainerStatuses"] = [first]


def no_dns(whole: Whole, log: str) -> None:
    for pod in whole.pods("kube-system", "coredns"):
        crashing(whole, pod, log)
    whole.settle()


def client_of(whole: Whole, host: str, said: str, namespace: str = "team") -> None:
    """A workload that crashes because of what it depends on."""
    (pod,) = whole.application(f"{namespace}/api", container={"env": [{"name": "DB_HOST", "value": host}]})
    crashing(whole, pod, said)


# -- the control plane


@cascade(
    "K01",
    "control_plane/etcd_out_of_space Pod/kube-system/etcd-cp1",
    "control_plane/leader_election_lost Pod/kube-system/kube-controller-manager-cp1",
    "control_plane/controller_manager_not_running Lease/kube-system/kube-controller-manager",
    "control_plane/scheduler_not_running Lease/kube-system/kube-scheduler",
)
def etcd_is_full() -> Whole:
    whole = Whole()
    alarm = '{"header":{"cluster_id":1,"member_id":2,"revision":9,"raft_term":2},"alarms":[{"memberID":10276657743932975437,"alarm":1}]}\n'
    whole.say("cp1", "etcdctl-alarms", alarm)
    for part in ("kube-controller-manager", "kube-scheduler"):
        whole.idle(part, minutes=6)
        pod = whole.get("pods", f"{part}-cp1", "kube-system")
        crashing(whole, pod, 'E1122 11:05:01.000000       1 controllermanager.go:440] "leaderelection lost"')
    return whole


@cascade(
    "K01",
    "control_plane/manifest_file_missing Pod/kube-system/etcd-cp1",
    "control_plane/etcd_not_running Pod/kube-system/etcd-cp1",
    "control_plane/api_server_cannot_reach_etcd Pod/kube-system/kube-apiserver-cp1",
    "control_plane/api_server_unreachable APIServer/10.89.0.11:6443",
    also=(  # the recording holds two more faults, on purpose
        "control_plane/manifest_duplicated Pod/kube-system/kube-controller-manager-cp1",
        "control_plane/manifest_probe_wrong Pod/kube-system/kube-scheduler-cp1",
    ),
)
def etcd_does_not_start() -> str:
    return "broken-etcd-certificate-path"


@cascade(
    "K02",
    "control_plane/manifest_flag_unknown Pod/kube-system/kube-apiserver-cp1",
    "control_plane/component_exits Pod/kube-system/kube-apiserver-cp1",
    "control_plane/api_server_unreachable APIServer/10.89.0.11:6443",
)
def api_server_does_not_start() -> Whole:
    whole = Whole()
    whole.swap("cp1", "manifests", "--authorization-mode=Node,RBAC", "--authorisation-mode=Node,RBAC")
    ended(whole, "kube-apiserver", 1, "Error: unknown flag: --authorisation-mode")
    whole.api_dead()
    return whole


@cascade(
    "K03",
    "control_plane/manifest_probe_wrong Pod/kube-system/kube-apiserver-cp1",
    "control_plane/static_pod_restarting Pod/kube-system/kube-apiserver-cp1",
    "control_plane/leader_election_lost Pod/kube-system/kube-controller-manager-cp1",
    "control_plane/leader_election_lost Pod/kube-system/kube-scheduler-cp1",
)
def api_server_flaps() -> Whole:
    whole = Whole()
    manifest = whole.answer("cp1", "manifests")
    part = manifest[manifest.index("kube-apiserver.yaml") :]
    whole.say("cp1", "manifests", manifest.replace("containerPort: 6443", "containerPort: 6433"))
    assert "containerPort: 6443" in part
    api = whole.get("pods", "kube-apiserver-cp1", "kube-system")
    for port in api["spec"]["containers"][0]["ports"]:
        port["containerPort"] = 6433
    again(whole, api, 7, "liveness probe failed")
    for name in ("kube-controller-manager", "kube-scheduler"):
        pod = whole.get("pods", f"{name}-cp1", "kube-system")
        again(whole, pod, 6, "")
        where = f"kube-system/{name}-cp1/{name}/previous"
        whole.log(where, f'{whole.ago(minutes=3)} E1122 11:05:01.000000       1 x.go:440] "Leaderelection lost"\n')
    return whole


def again(whole: Whole, pod: Object, restarts: int, message: str) -> None:
    """A pod that runs, and was restarted a moment ago as often before."""
    (status,) = pod["status"]["containerStatuses"]
    ended = {"exitCode": 1 if not message else 137, "reason": "Error", "message": message}
    ended |= {"startedAt": whole.ago(minutes=7), "finishedAt": whole.ago(seconds=25)}
    status.update(restartCount=restarts, lastState={"terminated": ended})
    status["state"] = {"running": {"startedAt": whole.ago(seconds=20)}}


def ended(whole: Whole, part: str, code: int, said: str) -> None:
    """A static pod's container that has ended, as the runtime lists it."""
    listed = json.loads(whole.answer("cp1", "containers"))
    for one in listed["containers"]:
        if one["metadata"]["name"] == part:
            one["state"] = "CONTAINER_EXITED"
            one["metadata"]["attempt"] = 4
            inspected = json.loads(whole.answer("cp1", "container", one["id"]))
            inspected["status"].update(
                state="CONTAINER_EXITED",
                exitCode=code,
                reason="Error",
                startedAt=whole.ago(seconds=40),
                finishedAt=whole.ago(seconds=39),
            )
            one["createdAt"] = str(int((whole.taken.timestamp() - 40) * 1e9))
            inspected["status"]["createdAt"] = whole.ago(seconds=40)
            whole.say("cp1", "container", json.dumps(inspected), one["id"])
    whole.say("cp1", "containers", json.dumps(listed))
    for (key, name), _ in list(whole.hosts["cp1"].items()):
        if key == "pod-log" and f"_{part}-cp1_" in name:
            whole.say("cp1", key, f"{whole.ago(seconds=39)} stderr F {said}\n", name)


@cascade(
    "K04",
    "worker_node/kubelet_not_running Node/cp1",
    "control_plane/manifest_not_applied Pod/kube-system/kube-scheduler-cp1",
    "worker_node/node_not_ready Node/cp1",
)
def kubelet_of_the_control_plane_is_stopped() -> Whole:
    whole = Whole()
    stop(whole, "cp1", "kubelet")
    whole.lost("cp1")
    line = "kube-scheduler.yaml:15:    - --bind-address="
    whole.swap("cp1", "manifests", f"{line}127.0.0.1", f"{line}0.0.0.0")
    files = whole.answer("cp1", "manifest-files").splitlines()
    fresh = [
        "\t".join([*line.split("\t")[:3], f"{whole.taken.timestamp() - 200:.10f}", *line.split("\t")[4:]])
        if "manifests/kube-scheduler.yaml" in line
        else line
        for line in files
    ]
    whole.say("cp1", "manifest-files", "\n".join(fresh) + "\n")
    return whole


def stop(whole: Whole, host: str, unit: str) -> None:
    """A unit that somebody stopped three minutes ago."""
    blocks = whole.answer(host, "units").split("\n\n")
    for number, block in enumerate(blocks):
        if f"Id={unit}.service" in block:
            lines = [
                line
                for line in block.splitlines()
                if not line.startswith(("StateChange", "ActiveExit", "InactiveEnter"))
            ]
            changed = [
                line.replace("ActiveState=active", "ActiveState=inactive").replace("SubState=running", "SubState=dead")
                for line in lines
            ]
            stamp = f"{whole.taken.timestamp() - 180:.0f}"
            when = datetime.fromtimestamp(float(stamp), UTC).strftime("%a %Y-%m-%d %H:%M:%S UTC")
            blocks[number] = "\n".join([*changed, f"StateChangeTimestamp={when}"])
    whole.say(host, "units", "\n\n".join(blocks))


# -- nodes


@cascade(
    "K05",
    "worker_node/kubelet_not_running Node/w1",
    "worker_node/node_not_ready Node/w1",
    "application/pod_stuck_terminating Deployment/team/web",
    "application/scheduling_insufficient_resources Deployment/team/web",
    "application/volume_attached_elsewhere Deployment/team/store",
    "network/service_has_no_ready_endpoint Service/team/web",
)
def kubelet_of_a_worker_is_stopped() -> Whole:
    whole = Whole()
    (web,) = whole.application("team/web", container={"resources": {"requests": {"cpu": "1900m"}}})
    (store,) = whole.application("team/store")
    whole.application("team/other", nodes=("w2",), container={"resources": {"requests": {"cpu": "1500m"}}})
    for node in whole.lists["csinodes"]:
        node["spec"]["drivers"] = [{"name": "x", "nodeID": node["metadata"]["name"], "topologyKeys": None}]
    whole.service("team/web")
    stop(whole, "w1", "kubelet")
    whole.lost("w1", minutes=9)
    for pod in (web, store):
        pod["metadata"]["deletionTimestamp"] = whole.ago(minutes=4)
        pod["metadata"]["deletionGracePeriodSeconds"] = 30
    replace(whole, web)
    new = replace(whole, store)
    whole.pending(
        whole.get("pods", "web-6b9f-new", "team"),
        "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), "
        "1 node(s) were unschedulable. no new claims to deallocate",
        minutes=4,
    )
    claim(whole, "team", "store", bound=True)
    for pod in (store, new):
        pod["spec"]["volumes"] = [{"name": "d", "persistentVolumeClaim": {"claimName": "store"}}]
    whole.waiting(new, "ContainerCreating")
    new["spec"]["nodeName"] = "w2"
    attached = 'Multi-Attach error for volume "pv-store" Volume is already used by pod(s) store-6b9f-0'
    whole.event("Pod", "team/store-6b9f-new", "FailedAttachVolume", attached, "attachdetach-controller")
    whole.settle()
    return whole


def replace(whole: Whole, pod: Object) -> Object:
    """The pod that a ReplicaSet makes for one that goes."""
    new = copy.deepcopy(pod)
    name = str(pod["metadata"]["name"]).rpartition("-")[0]
    new["metadata"] |= {"name": f"{name}-new", "uid": f"{name}-new", "creationTimestamp": whole.ago(minutes=4)}
    new["metadata"].pop("deletionTimestamp", None)
    new["metadata"].pop("deletionGracePeriodSeconds", None)
    whole.add("pods", new)
    return new


def claim(whole: Whole, namespace: str, name: str, *, bound: bool, storage_class: str = "local") -> None:
    """A claim of one node at a time, with its volume where it is bound."""
    modes = {"accessModes": ["ReadWriteOnce"], "storageClassName": storage_class}
    wanted = {**modes, "resources": {"requests": {"storage": "1Gi"}}}
    meta = {"name": name, "namespace": namespace, "uid": f"c-{name}", "creationTimestamp": whole.ago(hours=1)}
    status = {"phase": "Bound" if bound else "Pending"}
    whole.add(
        "persistentvolumeclaims",
        {"metadata": meta, "spec": {**wanted, **({"volumeName": f"pv-{name}"} if bound else {})}, "status": status},
    )
    if bound:
        ref = {"kind": "PersistentVolumeClaim", "namespace": namespace, "name": name, "uid": f"c-{name}"}
        spec = {**modes, "capacity": {"storage": "1Gi"}, "claimRef": ref, "csi": {"driver": "x", "volumeHandle": "h"}}
        made = {"name": f"pv-{name}", "uid": f"v-{name}", "creationTimestamp": whole.ago(hours=1)}
        whole.add("persistentvolumes", {"metadata": made, "spec": spec, "status": {"phase": "Bound"}})
        at = {"attacher": "x", "nodeName": "w1", "source": {"persistentVolumeName": f"pv-{name}"}}
        whole.add("volumeattachments", {"metadata": {"name": f"a-{name}"}, "spec": at, "status": {"attached": True}})


@cascade(
    "K06",
    "worker_node/runtime_not_running Node/w2",
    "worker_node/node_not_ready Node/w2",
    "application/workload_unavailable Deployment/team/web",
)
def runtime_is_stopped() -> Whole:
    whole = Whole()
    stop(whole, "w2", "containerd")
    dead = 'Get "http://x": dial unix /run/containerd/containerd.sock: connect: no such file or directory'
    for key in ("containers", "sandboxes", "images", "cri-version", "cri-info"):
        whole.fail("w2", key, f"crictl: validate service connection: {dead} (exit code 1)")
    whole.not_ready(
        "w2", "[container runtime is down, PLEG is not healthy: pleg was last seen active 4m0s ago; threshold is 3m0s]"
    )
    (web,) = whole.application("team/web", nodes=("w2",))
    whole.unready(web, minutes=2)
    whole.settle()
    return whole


_NO_NETWORK = {
    "type": "NetworkReady",
    "status": False,
    "reason": "NetworkPluginNotReady",
    "message": "Network plugin returns error: cni plugin not initialized",
}


@cascade(
    "K07",
    "network/cni_config_missing Node/w2",
    "network/network_plugin_not_ready Node/w2",
    "worker_node/node_not_ready Node/w2",
    "network/pod_sandbox_fails Node/w2",
)
def network_configuration_is_gone() -> Whole:
    whole = Whole()
    whole.say("w2", "cni-files", "")
    whole.hosts["w2"].pop(("cni-config", "/etc/cni/net.d/10-labnet.conflist"), None)
    whole.say("w2", "cri-info", json.dumps({"status": {"conditions": [_NO_NETWORK]}}))
    said = (
        "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
        "message:Network plugin returns error: cni plugin not initialized"
    )
    whole.not_ready("w2", said)
    (web,) = whole.application("team/web", nodes=("w2",))
    whole.waiting(web, "ContainerCreating")
    failed = 'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox "1f": cni plugin not initialized'
    whole.event("Pod", "team/web-6b9f-0", "FailedCreatePodSandBox", failed)
    whole.settle()
    return whole


@cascade(
    "K07",
    "network/cni_config_missing Node/w2",
    "worker_node/node_not_ready Node/w2",
    also=("control_plane/webhook_call_fails ValidatingWebhookConfiguration/policy",),
)
def network_configuration_is_gone_and_a_certificate_is_not_accepted() -> Whole:
    """The webhook was reached: no network keeps it from answering."""
    whole = network_configuration_is_gone()
    webhook(whole, "tls: failed to verify certificate: x509: certificate signed by unknown authority", node="w2")
    return whole


@cascade(
    "K08",
    "network/kube_proxy_config_missing DaemonSet/kube-system/kube-proxy",
    "network/kube_proxy_not_running DaemonSet/kube-system/kube-proxy",
    "network/coredns_cannot_reach_api Deployment/kube-system/coredns",
    "network/cluster_dns_unavailable Service/kube-system/kube-dns",
    "control_plane/webhook_call_fails ValidatingWebhookConfiguration/policy",
    "worker_node/metrics_server_unavailable APIService/v1beta1.metrics.k8s.io",
)
def kube_proxy_lacks_its_configuration() -> Whole:
    whole = Whole()
    daemonset = whole.get("daemonsets", "kube-proxy", "kube-system")
    words = daemonset["spec"]["template"]["spec"]["containers"][0]["command"]
    words[:] = [w.replace("config.conf", "configuration.conf") for w in words]
    for pod in whole.pods("kube-system", "kube-proxy"):
        crashing(
            whole,
            pod,
            'E1122 11:05:01.0 1 run.go:74] "command failed" err="failed complete: open /var/lib/kube-proxy/configuration.conf: no such file or directory"',
        )
    for pod in whole.pods("kube-system", "coredns"):
        whole.unready(pod)
        where = f"kube-system/{pod['metadata']['name']}/coredns/current"
        failed = f'[ERROR] plugin/kubernetes: Failed to watch: failed to list *v1.Namespace: Get "{VIP}/api/v1/namespaces?limit=500": dial tcp 10.96.0.1:443: i/o timeout'
        whole.log(where, f"{whole.ago(seconds=20)} {failed}\n")
    whole.settle()
    metrics(
        whole,
        'failing or missing response from https://10.96.7.9:443/apis/metrics.k8s.io/v1beta1: Get "https://10.96.7.9:443/apis/metrics.k8s.io/v1beta1": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)',
    )
    webhook(whole, "context deadline exceeded")
    return whole


def metrics(whole: Whole, said: str) -> None:
    """A metrics server that runs, and whose API the API server says this of."""
    whole.application("kube-system/metrics-server", container={"ports": [{"name": "https", "containerPort": 10250}]})
    whole.service("kube-system/metrics-server", 443, "https")
    whole.settle()
    spec: Object = {
        "group": "metrics.k8s.io",
        "version": "v1beta1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    spec["service"] = {"name": "metrics-server", "namespace": "kube-system", "port": 443}
    why = {"type": "Available", "status": "False", "reason": "FailedDiscoveryCheck", "message": said}
    why["lastTransitionTime"] = whole.ago(minutes=5)
    whole.add(
        "apiservices", {"metadata": {"name": "v1beta1.metrics.k8s.io"}, "spec": spec, "status": {"conditions": [why]}}
    )


def webhook(whole: Whole, why: str, *, ready: bool = True, node: str = "w1") -> None:
    """A webhook that is asked for each pod, and a Deployment that may make none for it."""
    pods = whole.application("policy/policy", nodes=(node,))
    whole.service("policy/policy", 443, 80)
    if not ready:
        for pod in pods:
            whole.waiting(pod, "ImagePullBackOff", 'Back-off pulling image "nginx:ltest"')
    hook = {
        "name": "policy.example.com",
        "failurePolicy": "Fail",
        "clientConfig": {"service": {"name": "policy", "namespace": "policy", "port": 443}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "late"}},
    }
    whole.add(
        "validatingwebhookconfigurations",
        {"metadata": {"name": "policy", "creationTimestamp": whole.ago(hours=1)}, "webhooks": [hook]},
    )
    whole.application("late/late", replicas=0)
    for key in ("deployments", "replicasets"):
        found = next(o for o in whole.lists[key] if o["metadata"]["namespace"] == "late")
        found["spec"]["replicas"] = 1
    said = (
        'Error creating: Internal error occurred: failed calling webhook "policy.example.com": failed to call webhook: '
        f'Post "https://policy.policy.svc:443/validate?timeout=10s": {why}'
    )
    failure = {
        "type": "ReplicaFailure",
        "status": "True",
        "reason": "FailedCreate",
        "message": said.removeprefix("Error creating: "),
    }
    failure["lastTransitionTime"] = whole.ago(minutes=5)
    for key in ("deployments", "replicasets"):
        found = next(o for o in whole.lists[key] if o["metadata"]["namespace"] == "late")
        found["status"] = {"conditions": [failure], "observedGeneration": 1}
    whole.event("ReplicaSet", "late/late-6b9f", "FailedCreate", said, "replicaset-controller")
    whole.settle()


# -- DNS, scheduler, controllers


@cascade(
    "K09",
    "network/coredns_corefile_invalid ConfigMap/kube-system/coredns",
    "network/cluster_dns_unavailable Service/kube-system/kube-dns",
    "application/container_crashes Deployment/team/api",
    "application/dependency_name_unresolved Deployment/team/api",
)
def dns_is_down() -> Whole:
    whole = Whole()
    config = whole.get("configmaps", "coredns", "kube-system")
    config["data"]["Corefile"] = config["data"]["Corefile"].replace("forward .", "proxy .")
    line = next(n for n, text in enumerate(config["data"]["Corefile"].splitlines(), 1) if "proxy" in text)
    no_dns(whole, f"/etc/coredns/Corefile:{line} - Error during parsing: Unknown directive 'proxy'")
    client_of(
        whole,
        "mysql-service.shop",
        "dial tcp: lookup mysql-service.shop on 10.96.0.10:53: read udp 10.244.1.9:4->10.96.0.10:53: i/o timeout",
    )
    whole.settle()
    return whole


@cascade(
    "K10",
    "control_plane/static_pod_failing Pod/kube-system/kube-scheduler-cp1",
    "control_plane/scheduler_not_running Lease/kube-system/kube-scheduler",
    "application/pod_never_scheduled Deployment/team/web",
    "application/pod_not_ready Deployment/team/web",
    "network/service_has_no_ready_endpoint Service/team/web",
)
def scheduler_is_dead() -> Whole:
    whole = Whole()
    whole.hosts.clear()
    whole.idle("kube-scheduler", minutes=6)
    scheduler = whole.get("pods", "kube-scheduler-cp1", "kube-system")
    crashing(whole, scheduler, "Error: unknown flag: --totally-bogus-flag")
    (web,) = whole.application("team/web")
    whole.service("team/web")
    whole.pending(web)
    claim(whole, "team", "late", bound=False, storage_class="wait")
    wait = {"provisioner": "rancher.io/local-path", "volumeBindingMode": "WaitForFirstConsumer"}
    whole.add("storageclasses", {"metadata": {"name": "wait"}, **wait})
    web["spec"]["volumes"] = [{"name": "d", "persistentVolumeClaim": {"claimName": "late"}}]
    whole.settle()
    return whole


@cascade(
    "K11",
    "control_plane/static_pod_failing Pod/kube-system/kube-controller-manager-cp1",
    "control_plane/controller_manager_not_running Lease/kube-system/kube-controller-manager",
    "application/cronjob_not_running CronJob/team/report",
    also=[
        "worker_node/node_heartbeat_stale Node/w2"
    ],  # its kubelet is dead as well; that it still counts as Ready is K11
)
def controller_manager_is_dead() -> Whole:
    whole = Whole()
    whole.hosts.clear()
    whole.idle("kube-controller-manager", minutes=12)
    crashing(
        whole,
        whole.get("pods", "kube-controller-manager-cp1", "kube-system"),
        "Error: unknown flag: --totally-bogus-flag",
    )
    whole.application("team/web", replicas=0)
    web = whole.get("deployments", "web", "team")
    web["spec"]["replicas"] = 3
    whole.settle()
    web["metadata"]["generation"] = 2
    web["status"] = {"observedGeneration": 1}
    whole.get("node-leases", "w2", "kube-node-lease")["spec"]["renewTime"] = whole.ago(minutes=8).replace(
        "Z", ".000000Z"
    )
    made = {"name": "report", "namespace": "team", "uid": "cj", "creationTimestamp": whole.ago(days=1)}
    job = {"template": {"spec": {"containers": [{"name": "r", "image": "busybox"}], "restartPolicy": "Never"}}}
    spec = {"schedule": "*/2 * * * *", "jobTemplate": {"spec": job}, "concurrencyPolicy": "Allow"}
    ran = {"lastScheduleTime": whole.ago(minutes=14), "lastSuccessfulTime": whole.ago(minutes=14)}
    whole.add("cronjobs", {"metadata": made, "spec": spec, "status": ran})
    return whole


@cascade(
    "K12",
    "application/image_not_found Deployment/policy/policy",
    "control_plane/webhook_backend_unavailable ValidatingWebhookConfiguration/policy",
    "application/workload_unavailable Deployment/late/late",
)
def webhook_backend_is_dead() -> Whole:
    whole = Whole()
    webhook(whole, "dial tcp 10.96.7.11:443: connect: connection refused", ready=False)
    said = (
        'Failed to pull image "nginx:ltest": rpc error: code = NotFound desc = failed to pull and unpack image '
        '"docker.io/library/nginx:ltest": failed to resolve reference "docker.io/library/nginx:ltest": '
        "docker.io/library/nginx:ltest: not found"
    )
    (pod,) = whole.pods("policy")
    pod["spec"]["containers"][0]["image"] = "nginx:ltest"
    pod["status"]["containerStatuses"][0]["image"] = "nginx:ltest"
    for key in ("deployments", "replicasets"):
        found = next(o for o in whole.lists[key] if o["metadata"]["namespace"] == "policy")
        found["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:ltest"
    whole.event("Pod", "policy/policy-6b9f-0", "Failed", said)
    return whole


@cascade(
    "K13",
    "worker_node/disk_full Node/w2",
    "worker_node/node_under_pressure Node/w2",
    "application/pod_evicted Deployment/team/web",
)
def disk_of_a_node_is_full() -> Whole:
    whole = Whole()
    full = whole.answer("w2", "disks").replace("18411912  77089352      20%", "264100000    112084     100%")
    whole.say("w2", "disks", full)
    node = whole.get("nodes", "w2")
    for condition in node["status"]["conditions"]:
        if condition["type"] == "DiskPressure":
            condition.update(status="True", reason="KubeletHasDiskPressure", lastTransitionTime=whole.ago(minutes=6))
    node["spec"]["taints"] = [{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]
    pods = whole.application("team/web", replicas=2, nodes=("w2", "w1"))
    pods[0]["status"] = {
        "phase": "Failed",
        "reason": "Evicted",
        "message": "The node was low on resource: ephemeral-storage. Threshold quantity: 39631812812, available: 112084Ki. ",
        "startTime": whole.ago(minutes=5),
        "conditions": [
            {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "TerminationByKubelet",
                "lastTransitionTime": whole.ago(minutes=5),
            }
        ],
    }
    whole.settle()
    return whole


@cascade(
    "K14",
    "application/quota_exceeded Deployment/team/web",
    "application/workload_unavailable Deployment/team/web",
    "network/service_has_no_ready_endpoint Service/team/web",
    "network/ingress_backend_unavailable Ingress/team/web",
)
def quota_refuses_the_pods() -> Whole:
    whole = Whole()
    whole.application("team/web", replicas=0, container={"resources": {"requests": {"cpu": "250m"}}})
    said = 'pods "web-6b9f-x" is forbidden: exceeded quota: compute, requested: requests.cpu=250m, used: requests.cpu=0, limited: requests.cpu=200m'
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": said}
    failure["lastTransitionTime"] = whole.ago(minutes=12)
    meta = {"name": "compute", "namespace": "team", "creationTimestamp": whole.ago(hours=1)}
    limits = {"hard": {"requests.cpu": "200m"}}
    whole.add("resourcequotas", {"metadata": meta, "spec": limits, "status": {**limits, "used": {"requests.cpu": "0"}}})
    whole.service("team/web")
    ingress(whole, "team/web")
    for key in ("deployments", "replicasets"):
        found = next(o for o in whole.lists[key] if o["metadata"]["namespace"] == "team")
        found["spec"]["replicas"] = 2
        found["status"] = {"conditions": [failure], "observedGeneration": 1}
    whole.event("ReplicaSet", "team/web-6b9f", "FailedCreate", f"Error creating: {said}", "replicaset-controller")
    whole.settle()
    timed_out(whole, "web", "team")
    return whole


def timed_out(whole: Whole, name: str, namespace: str) -> None:
    """A rollout whose deadline has passed."""
    for condition in whole.get("deployments", name, namespace)["status"]["conditions"]:
        if condition["type"] == "Progressing":
            late = f'ReplicaSet "{name}-6b9f" has timed out progressing.'
            condition.update(status="False", reason="ProgressDeadlineExceeded", message=late)


def ingress(whole: Whole, path: str) -> None:
    """An Ingress in front of the Service of the same name."""
    namespace, _, name = path.partition("/")
    if not whole.lists.get("ingressclasses"):
        whole.add("ingressclasses", {"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}})
    backend = {"service": {"name": name, "port": {"number": 80}}}
    rule = {"host": "shop.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    meta = {"name": name, "namespace": namespace, "creationTimestamp": whole.ago(hours=1)}
    ready = {"loadBalancer": {"ingress": [{"ip": "10.0.0.9"}]}}
    whole.add("ingresses", {"metadata": meta, "spec": {"ingressClassName": "nginx", "rules": [rule]}, "status": ready})


# -- applications


@cascade(
    "K15",
    "application/storage_class_missing PersistentVolumeClaim/team/db",
    "application/pod_waits_for_claim Deployment/team/db",
    "network/service_has_no_ready_endpoint Service/team/db",
    "application/dependency_unreachable Deployment/team/api",
    "application/container_crashes Deployment/team/api",
    "application/init_container_waits Deployment/team/late",
)
def claim_is_not_bound() -> Whole:
    whole = Whole()
    claim(whole, "team", "db", bound=False, storage_class="manually")
    whole.event(
        "PersistentVolumeClaim",
        "team/db",
        "ProvisioningFailed",
        'storageclass.storage.k8s.io "manually" not found',
        "persistentvolume-controller",
    )
    (db,) = whole.application("team/db", volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "db"}}])
    whole.pending(
        db,
        "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/3 nodes are available",
    )
    whole.service("team/db", 5432, 80)
    client_of(
        whole, "db", "could not connect to server: dial tcp 10.96.7.10:5432: connect: connection refused (host db)"
    )
    wait = {"name": "wait", "image": "busybox:1.36", "command": ["sh", "-c", "until nc -z db 5432; do sleep 2; done"]}
    (late,) = whole.application("team/late", initContainers=[wait])
    initializing(whole, late)
    whole.settle()
    return whole


@cascade(
    "K15",
    "application/init_container_waits Deployment/team/late",
    "network/service_has_no_ready_endpoint Service/team/late",
    "application/workload_unavailable Deployment/team/late",
)
def init_container_asks_wrongly() -> Whole:
    whole = Whole()
    whole.application("team/db")
    whole.service("team/db", 5432, 80)
    wait = {"name": "wait", "image": "busybox:1.36", "command": ["sh", "-c", "until nc -z db 5432; do sleep 2; done"]}
    (late,) = whole.application("team/late", initContainers=[wait])
    whole.service("team/late")
    initializing(whole, late)
    whole.settle()
    return whole


@cascade(
    "K16",
    "application/configmap_missing Deployment/team/web",
    "application/pod_not_ready Deployment/team/web",
    "network/service_has_no_ready_endpoint Service/team/web",
    "network/ingress_backend_unavailable Ingress/team/web",
    "application/disruption_budget_blocks_drain PodDisruptionBudget/team/web",
)
def configuration_is_missing() -> Whole:
    whole = Whole()
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "web-settings", "key": "a"}}}]
    (web,) = whole.application("team/web", container={"env": env})
    whole.waiting(web, "CreateContainerConfigError", 'configmap "web-settings" not found')
    whole.service("team/web")
    ingress(whole, "team/web")
    whole.settle()
    timed_out(whole, "web", "team")
    drained(whole, "w1", "team/web", web)
    return whole


def drained(whole: Whole, node: str, path: str, pod: Object) -> None:
    """Somebody drains the pod's node, and its budget lets none go."""
    namespace, _, name = path.partition("/")
    whole.lists["poddisruptionbudgets"].clear()
    whole.get("nodes", node)["spec"]["unschedulable"] = True
    cordon = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": whole.ago(minutes=10)}
    whole.get("nodes", node)["spec"].setdefault("taints", []).append(cordon)
    meta = {"name": name, "namespace": namespace, "creationTimestamp": whole.ago(hours=1), "generation": 1}
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}}
    status = {
        "expectedPods": 1,
        "desiredHealthy": 1,
        "currentHealthy": 0,
        "disruptionsAllowed": 0,
        "observedGeneration": 1,
    }
    low = {"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods"}
    whole.add("poddisruptionbudgets", {"metadata": meta, "spec": spec, "status": {**status, "conditions": [low]}})


@cascade(
    "K17",
    "application/readiness_probe_fails Deployment/team/web",
    "application/pod_not_ready Deployment/team/web",
    "network/service_has_no_ready_endpoint Service/team/web",
    "network/ingress_backend_unavailable Ingress/team/web",
)
def readiness_probe_is_wrong() -> Whole:
    whole = Whole()
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 10}
    (web,) = whole.application("team/web", container={"readinessProbe": probe})
    whole.unready(web)
    refused = (
        'Readiness probe failed: Get "http://10.244.1.9:8080/": dial tcp 10.244.1.9:8080: connect: connection refused'
    )
    whole.event("Pod", "team/web-6b9f-0", "Unhealthy", refused)
    whole.service("team/web")
    ingress(whole, "team/web")
    whole.settle()
    return whole


@cascade(
    "K18",
    "worker_node/kubelet_cgroup_driver_mismatch Node/cp1",
    "control_plane/static_pod_restarting Pod/kube-system/etcd-cp1",
    "control_plane/static_pod_restarting Pod/kube-system/kube-apiserver-cp1",
)
def cgroup_drivers_differ() -> Whole:
    whole = Whole()
    config = whole.answer("cp1", "kubelet-config", "/var/lib/kubelet/config.yaml")
    other = config.replace("cgroupDriver: cgroupfs", "cgroupDriver: systemd")
    assert other != config
    whole.say("cp1", "kubelet-config", other, "/var/lib/kubelet/config.yaml")
    for part in ("etcd", "kube-apiserver"):
        again(whole, whole.get("pods", f"{part}-cp1", "kube-system"), 9, "")
        whole.event(
            "Pod", f"kube-system/{part}-cp1", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."
        )
    return whole


@cascade(
    "K19",
    "control_plane/certificate_expired Node/cp1",
    "control_plane/api_server_unreachable APIServer/10.89.0.11:6443",
)
def certificates_have_expired() -> Whole:
    whole = Whole()
    # Made for a year, and nobody has renewed them: the same cluster fourteen months later.
    return later(whole, days=425)


def later(whole: Whole, days: int) -> Whole:
    """The same nodes, so many days later; the API server does not answer."""
    moved = whole.taken + timedelta(days=days)
    for number, seen in enumerate(whole.other):
        if seen.key == "run":
            run = {**json.loads(bytes(seen.body)), "taken": moved.isoformat()}
            whole.other[number] = dataclasses.replace(seen, body=json.dumps(run).encode())
    for host in whole.hosts:
        whole.say(host, "clock", f"{moved.timestamp():.7f}\n")
        whole.say(host, "pki-clock", f"{moved.timestamp():.0f}\n")
    whole.api_dead("10.89.0.11:6443: x509: certificate has expired or is not yet valid")
    return whole


@cascade(
    "K20",
    "worker_node/clock_differs_between_nodes Node/w2",
    "worker_node/node_not_ready Node/w2",
)
def clock_of_a_node_is_wrong() -> Whole:
    whole = Whole()
    whole.say("w2", "clock", f"{whole.taken.timestamp() - 86400 * 3:.7f}\n")
    whole.lost("w2")
    return whole


@cascade(
    "K21",
    "network/service_target_port_wrong Service/kube-system/metrics-server",
    "worker_node/metrics_server_unavailable APIService/v1beta1.metrics.k8s.io",
    "application/autoscaler_blind APIService/v1beta1.metrics.k8s.io",
)
def metrics_server_is_down() -> Whole:
    whole = Whole()
    metrics(whole, 'endpoints for service/metrics-server in "kube-system" have no addresses with port name "https"')
    whole.get("services", "metrics-server", "kube-system")["spec"]["ports"][0]["targetPort"] = "htps"
    whole.lists["apiservices"][-1]["status"]["conditions"][0]["reason"] = "MissingEndpoints"
    whole.application("team/web", container={"resources": {"requests": {"cpu": "50m"}}})
    whole.settle()
    target = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    said = "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server is currently unable to handle the request (get pods.metrics.k8s.io)"
    blind = {"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric", "message": said}
    blind["lastTransitionTime"] = whole.ago(minutes=5)
    spec = {
        "scaleTargetRef": target,
        "minReplicas": 1,
        "maxReplicas": 3,
        "metrics": [{"type": "Resource", "resource": cpu}],
    }
    meta = {"name": "web", "namespace": "team", "creationTimestamp": whole.ago(hours=1)}
    status = {"currentReplicas": 1, "desiredReplicas": 1, "conditions": [blind]}
    whole.add("horizontalpodautoscalers", {"metadata": meta, "spec": spec, "status": status})
    return whole


@cascade(
    "K22",
    "worker_node/conntrack_full Node/w1",
    "application/dependency_name_unresolved Deployment/team/api",
    "application/container_crashes Deployment/team/api",
)
def connection_table_is_full() -> Whole:
    whole = Whole()
    whole.swap(
        "w1",
        "kernel",
        "nf_conntrack_count:" + whole.answer("w1", "kernel").partition("nf_conntrack_count:")[2].split("\n")[0],
        "nf_conntrack_count:262144",
    )
    client_of(
        whole,
        "mysql-service.shop",
        "dial tcp: lookup mysql-service.shop on 10.96.0.10:53: read udp 10.244.1.9:4->10.96.0.10:53: i/o timeout",
    )
    whole.settle()
    return whole


@cascade(
    "K23",
    "network/network_policy_blocks_dns NetworkPolicy/team/default-deny",
    "application/dependency_name_unresolved Deployment/team/api",
    "application/container_crashes Deployment/team/api",
)
def policy_lets_no_name_out() -> Whole:
    whole = Whole()
    client_of(whole, "mysql-service.shop", "dial tcp: lookup mysql-service.shop: i/o timeout")
    whole.settle()
    spec = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"ports": [{"port": 3306, "protocol": "TCP"}]}]}
    meta = {"name": "default-deny", "namespace": "team", "creationTimestamp": whole.ago(hours=1)}
    whole.add("networkpolicies", {"metadata": meta, "spec": spec})
    return whole


@cascade(
    "K24",
    "network/firewall_blocks_kubernetes Node/w2",
    "worker_node/node_not_ready Node/w2",
)
def firewall_cuts_a_node_off() -> Whole:
    whole = Whole()
    rules = whole.answer("w2", "iptables-filter")
    whole.say(
        "w2", "iptables-filter", rules.replace("COMMIT", "-A OUTPUT -p tcp -m tcp --dport 6443 -j DROP\nCOMMIT", 1)
    )
    whole.lost("w2", minutes=3)
    return whole


@cascade(
    "K25",
    "network/pod_cidr_missing Node/w2",
    "network/network_plugin_daemonset_unavailable DaemonSet/kube-flannel/kube-flannel-ds",
    "application/container_crashes DaemonSet/kube-flannel/kube-flannel-ds",
)
def node_has_no_pod_range() -> Whole:
    whole = Whole()
    whole.hosts.clear()
    flannel(whole)
    whole.get("nodes", "w2")["spec"].pop("podCIDR", None)
    whole.get("nodes", "w2")["spec"].pop("podCIDRs", None)
    (pod,) = [p for p in whole.pods("kube-flannel") if p["spec"]["nodeName"] == "w2"]
    crashing(
        whole,
        pod,
        'E1122 11:05:01.0 1 main.go:333] Error registering network: failed to acquire lease: node "w2" pod cidr not assigned',
    )
    whole.settle()
    return whole


def flannel(whole: Whole) -> None:
    """Flannel in place of the lab's own network."""
    for key, items in whole.lists.items():
        for item in [i for i in items if i["metadata"]["name"].startswith("labnet") and key in ("daemonsets", "pods")]:
            if key == "pods":
                meta = item["metadata"]
                meta.update(namespace="kube-flannel", name=meta["name"].replace("labnet", "kube-flannel-ds"))
                meta["ownerReferences"][0]["name"] = "kube-flannel-ds"
            else:
                item["metadata"].update(namespace="kube-flannel", name="kube-flannel-ds")
    whole.add("namespaces", {"metadata": {"name": "kube-flannel", "uid": "kf"}, "status": {"phase": "Active"}})


@cascade(
    "K26",
    "control_plane/manifest_file_missing Pod/kube-system/kube-apiserver-cp1",
)
def rotation_took_the_certificate() -> Whole:
    whole = Whole()
    gone = "/etc/kubernetes/pki/apiserver.crt"
    for key in ("manifest-files", "manifest-paths"):
        text = whole.answer("cp1", key)
        whole.say(
            "cp1",
            key,
            "".join(line for line in text.splitlines(keepends=True) if gone not in line.rstrip().split("\t")),
        )
    whole.fail("cp1", "pki-certificate", f"openssl: {gone}: No such file or directory (exit code 1)", gone, absent=True)
    return whole


@cascade("K27", "network/coredns_corefile_invalid ConfigMap/kube-system/coredns")
def corefile_waits_for_a_restart() -> str:
    return "broken-corefile-latent"


# -- what must not be folded


def strangers(whole: Whole) -> set[str]:
    """Faults that have nothing to do with any of the above: in other namespaces, on both workers."""
    found = {"network/service_selects_nothing Service/other-w1/front"}
    for node in ("w1", "w2"):
        space = f"other-{node}"
        name = f"nginx:ltest-{node}"
        (image,) = whole.application(f"{space}/image", nodes=(node,), image=name)
        whole.waiting(image, "ImagePullBackOff", f'Back-off pulling image "{name}"')
        refused = (
            f'Failed to pull image "{name}": rpc error: code = NotFound desc = failed to pull and unpack image '
            f'"docker.io/library/{name}": failed to resolve reference "docker.io/library/{name}": '
            f"docker.io/library/{name}: not found"
        )
        whole.event("Pod", f"{space}/image-6b9f-0", "Failed", refused)
        (crash,) = whole.application(f"{space}/crash", nodes=(node,))
        crashing(whole, crash, "panic: cannot parse line 3 of the price list", code=2)
        env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "nowhere", "key": "a"}}}]
        (config,) = whole.application(f"{space}/config", nodes=(node,), container={"env": env})
        whole.waiting(config, "CreateContainerConfigError", 'configmap "nowhere" not found')
        found |= {
            f"application/image_not_found Deployment/{space}/image",
            f"application/container_crashes Deployment/{space}/crash",
            f"application/configmap_missing Deployment/{space}/config",
        }
    whole.application("other-w1/front")
    whole.service("other-w1/front")["spec"]["selector"] = {"app": "frnt"}
    whole.settle()
    return found


@pytest.mark.parametrize("one", CASCADES, ids=lambda c: c.id)
def test_what_has_nothing_to_do_with_it_is_not_folded_below_it(one: Cascade) -> None:
    whole = one.build()
    if isinstance(whole, str) or whole.dead_of:
        pytest.skip("nothing else can be seen there")
    other = strangers(whole)
    found = whole.verdict()
    assert {name_of(c) for c in found.causes} == {one.cause, *one.also, *other}, tree(found.causes)


def test_a_crash_that_has_nothing_to_do_with_the_node_is_a_cause_beside_the_node() -> None:
    whole = kube_proxy_lacks_its_configuration()
    (pod,) = whole.application("other/worker")
    crashing(whole, pod, "panic: cannot parse line 3 of the price list", code=2)
    whole.settle()
    found = whole.verdict()
    assert [name_of(c) for c in found.causes] == [
        "network/kube_proxy_config_missing DaemonSet/kube-system/kube-proxy",
        "application/container_crashes Deployment/other/worker",
    ], tree(found.causes)


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("maxPods: 110", "maxPods: many", "worker_node/kubelet_config_invalid Node/w1"),
        ("clusterDNS:", "clusterDns:", "worker_node/kubelet_config_invalid Node/w1"),
        ("- 10.96.0.10", "- 10.96.0.99", "network/cluster_dns_address_mismatch Node/w1"),
    ],
)
def test_a_line_of_a_kubelet_whose_node_is_ready_explains_no_crash_there(old: str, new: str, cause: str) -> None:
    """One that will not start again, and one that gives its pods the wrong DNS server: neither lacks a file of theirs."""
    whole = Whole()
    path = "/var/lib/kubelet/config.yaml"
    whole.say("w1", "kubelet-config", f"{whole.answer('w1', 'kubelet-config', path)}maxPods: 110\n", path)
    whole.swap("w1", "kubelet-config", old, new, path)
    (crash,) = whole.application("other/crash", nodes=("w1",))
    crashing(whole, crash, "settings /etc/app.ini not found", code=3)
    (pulls,) = whole.application("other/pulls", nodes=("w1",))
    whole.waiting(pulls, "ContainerCreating")
    whole.settle()
    found = whole.verdict()
    alone = {"application/container_crashes Deployment/other/crash", "application/pod_not_ready Deployment/other/pulls"}
    assert {name_of(c) for c in found.causes} == {cause, *alone}, tree(found.causes)


@pytest.mark.parametrize(
    ("off", "folded"),
    [("-serviceaccount", True), ("-root-ca-cert-publisher", False), ("-job-controller", False)],
)
def test_a_controller_that_is_off_explains_what_it_leaves_undone_and_nothing_else(off: str, folded: bool) -> None:
    """A new namespace lacks its service account, and a workload in it has no pod for that."""
    whole = Whole()
    whole.swap("cp1", "manifests", "--controllers=*,bootstrapsigner,tokencleaner", f"--controllers=*,{off}")
    whole.application("new/web", replicas=0)
    whole.remove("serviceaccounts", "default", "new")
    said = 'pods "web-" is forbidden: error looking up service account new/default: serviceaccount "default" not found'
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": said}
    failure["lastTransitionTime"] = whole.ago(minutes=12)
    for one in (whole.get("deployments", "web", "new"), whole.get("replicasets", "web-6b9f", "new")):
        one["spec"]["replicas"] = 1
        one["status"] = {"conditions": [failure], "observedGeneration": 1}
    whole.event("ReplicaSet", "new/web-6b9f", "FailedCreate", f"Error creating: {said}", "replicaset-controller")
    whole.settle()
    found = whole.verdict()
    missing = "application/service_account_missing Deployment/new/web"
    cause = "control_plane/controller_disabled Pod/kube-system/kube-controller-manager-cp1"
    assert {name_of(c) for c in found.causes} == ({cause} if folded else {cause, missing}), tree(found.causes)
    assert missing in {name_of(n) for c in found.causes for n in c.walk()}


def test_what_one_pod_holds_on_a_node_explains_nothing_of_its_neighbours() -> None:
    found = kubelet_of_a_worker_is_stopped().verdict()
    (held,) = [n for c in found.causes for n in c.walk() if n.check.id == "application/volume_attached_elsewhere"]
    assert {n.finding.subject.name for n in held.walk()} == {"store"}, tree(found.causes)


def test_a_dead_scheduler_is_the_cause_also_where_its_lease_may_not_be_read() -> None:
    whole = scheduler_is_dead()
    whole.refused = {"system-leases"}
    found = whole.verdict()
    assert [name_of(c) for c in found.causes] == ["control_plane/static_pod_failing Pod/kube-system/kube-scheduler-cp1"]


def test_files_that_were_not_listed_are_not_missing_on_a_node_that_is_not_ready() -> None:
    whole = runtime_is_stopped()
    whole.fail("w2", "cni-files", "sudo refused for kdiag")
    found = whole.verdict()
    assert [name_of(c) for c in found.causes] == ["worker_node/runtime_not_running Node/w2"], tree(found.causes)


def test_a_new_revision_that_does_not_start_breaks_nobody_while_the_old_one_serves() -> None:
    whole = Whole()
    _, fresh = whole.application("team/db", replicas=2)
    whole.get("deployments", "db", "team")["spec"]["replicas"] = 1
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "gone", "key": "a"}}}]
    fresh["spec"]["containers"][0]["env"] = env
    whole.waiting(fresh, "CreateContainerConfigError", 'configmap "gone" not found')
    whole.application("team/api", container={"env": [{"name": "DB_HOST", "value": "db"}]})
    (front,) = whole.application("team/front", container={"env": [{"name": "API_URL", "value": "http://api/"}]})
    whole.service("team/db")
    whole.service("team/api", target=81)
    whole.service("team/front")
    whole.unready(front)
    said = "connect to upstream http://api/ failed: dial tcp 10.96.7.9:80: connect: connection refused"
    whole.log(
        "team/front-6b9f-0/front/current", "".join(f"{whole.ago(seconds=s)} {said}\n" for s in range(200, 0, -10))
    )
    whole.settle()
    found = whole.verdict()
    (rollout, service) = sorted(found.causes, key=name_of)
    assert (name_of(rollout), name_of(service)) == (
        "application/configmap_missing Deployment/team/db",
        "network/service_target_port_wrong Service/team/api",
    ), tree(found.causes)
    assert {n.finding.subject.name for n in rollout.walk()} == {"db"}, tree(found.causes)
    assert "application/dependency_unreachable Deployment/team/front" in {name_of(n) for n in service.walk()}


def test_who_waits_for_pods_that_a_webhook_refuses_has_it_in_its_status_after_its_events() -> None:
    whole = webhook_backend_is_dead()
    whole.lists["events"] = [e for e in whole.lists["events"] if e["reason"] != "FailedCreate"]
    found = whole.verdict()
    assert len(found.causes) == 1, tree(found.causes)
    below = {name_of(n) for n in found.causes[0].walk()}
    assert "application/workload_unavailable Deployment/late/late" in below, tree(found.causes)


def test_who_is_denied_its_pods_was_answered_and_nothing_that_is_down_is_the_reason() -> None:
    assert [c for c, folded in reach(checks()).items() if "application/admission_denied" in folded] == []


def test_what_kube_proxy_may_not_do_is_why_a_node_lacks_rules() -> None:
    known = checks()
    rights, rules = (
        evaluate(known[name], fixture_facts(FIXTURES / name / file))
        for name, file in (
            ("control_plane/built_in_rights_missing", "broken-others.yaml"),
            ("network/kube_proxy_rules_missing", "broken.yaml"),
        )
    )
    own = tuple(f for f in rights.findings if f.message.startswith("kube-proxy may not"))
    found = correlate([dataclasses.replace(rights, findings=own), rules], known, Topology(Facts({})))
    assert [name_of(c) for c in found] == [
        "control_plane/built_in_rights_missing ClusterRoleBinding/kubeadm:node-proxier"
    ], tree(found)


def test_what_the_cluster_needs_in_kube_system_is_not_taken_its_rights(tmp_path: Path) -> None:
    check = checks()["application/pod_security_refused"]
    moved = tmp_path / "moved.yaml"
    moved.write_text((FIXTURES / check.id / "broken.yaml").read_text().replace("r1-psa", "kube-system"))
    steps = {step for f in evaluate(check, fixture_facts(moved)).findings for step in f.next}
    assert steps == {
        "kubectl label namespace kube-system pod-security.kubernetes.io/enforce=privileged --overwrite",
    }


def test_a_domain_for_which_coredns_does_not_answer_is_why_no_name_is_found() -> None:
    whole = Whole()
    corefile = whole.get("configmaps", "coredns", "kube-system")["data"]
    corefile["Corefile"] = corefile["Corefile"].replace("kubernetes cluster.local", "kubernetes cluster.lokal")
    (web,) = whole.application("team/web", container={"env": [{"name": "DB_HOST", "value": "db"}]})
    whole.application("team/db")
    whole.service("team/db")
    whole.unready(web)
    said = "dial tcp: lookup db on 10.96.0.10:53: server misbehaving"
    whole.log("team/web-6b9f-0/web/current", "".join(f"{whole.ago(seconds=s)} {said}\n" for s in range(200, 0, -10)))
    whole.settle()
    found = whole.verdict()
    assert [name_of(c) for c in found.causes] == ["network/cluster_domain_differs ConfigMap/kube-system/coredns"]
    below = {name_of(n) for n in found.causes[0].walk()}
    assert "application/dependency_name_unresolved Deployment/team/web" in below, tree(found.causes)


@pytest.mark.parametrize(
    ("log", "apart"),
    [
        ("connecting to db:3306\npanic: cannot parse line 3 of the price list", True),
        ("error: db not reachable, giving up", False),
        ("TypeError: cannot read the answer of the database", False),
    ],
)
def test_a_program_that_stumbles_over_itself_is_no_effect_of_the_service_that_it_names(
    log: str, *, apart: bool
) -> None:
    whole = Whole()
    whole.application("team/db")
    whole.service("team/db")["spec"]["selector"] = {"app": "dbx"}
    (api,) = whole.application("team/api", container={"env": [{"name": "DB_HOST", "value": "db"}]})
    crashing(whole, api, log, code=2)
    whole.settle()
    found = whole.verdict()
    own = ["application/container_crashes Deployment/team/api"] if apart else []
    assert [name_of(c) for c in found.causes] == [*own, "network/service_selects_nothing Service/team/db"], tree(
        found.causes
    )


def test_a_service_that_selects_nothing_is_a_fault_beside_the_dns_service_that_does() -> None:
    whole = Whole()
    whole.get("services", "kube-dns", "kube-system")["spec"]["selector"] = {"k8s-app": "coredns"}
    whole.application("team/api")
    whole.service("team/api")["spec"]["selector"] = {"app": "apix"}
    whole.settle()
    found = whole.verdict()
    assert {name_of(c) for c in found.causes} == {
        "network/dns_service_wrong Service/kube-system/kube-dns",
        "network/service_selects_nothing Service/team/api",
    }, tree(found.causes)
    (dns,) = (c for c in found.causes if c.finding.subject.name == "kube-dns")
    assert "network/service_selects_nothing Service/kube-system/kube-dns" in {name_of(n) for n in dns.walk()}


def test_last_words_over_a_file_that_was_mended_since_are_not_told_of_a_component_that_begins() -> None:
    """The kubeconfig of the scheduler was wrong; it runs again for some seconds, and has not taken its Lease yet."""

    def begins(*, mended: bool) -> set[str]:
        whole = Whole()
        pod = whole.get("pods", "kube-scheduler-cp1", "kube-system")
        said = 'E1122 11:05:01.000000 1 run.go:72] "command failed" err="invalid configuration: context was not found"'
        crashing(whole, pod, said)
        status = pod["status"]["containerStatuses"][0]
        end = {
            "exitCode": 1,
            "reason": "Error",
            "startedAt": whole.ago(seconds=61),
            "finishedAt": whole.ago(seconds=60),
        }
        status.update(
            state={"running": {"startedAt": whole.ago(seconds=5)}},
            lastState={"terminated": end},
            ready=False,
            restartCount=6,
        )
        written = f"\t{datetime.fromisoformat(whole.ago(seconds=20)).timestamp():.6f}\t"
        for key in ("manifest-files", "manifest-paths") if mended else ():
            (line,) = [x for x in whole.answer("cp1", key).splitlines() if x.endswith("/scheduler.conf\t")]
            whole.swap("cp1", key, line, line.replace(f"\t{line.split(chr(9))[3]}\t", written))
        return {c.check.id for c in whole.verdict().causes}

    told = {"control_plane/static_pod_failing", "control_plane/static_pod_restarting", "control_plane/component_exits"}
    assert told & begins(mended=False)
    assert not told & begins(mended=True)


@pytest.mark.parametrize(
    ("check", "fixture", "speaks"),
    [
        ("application/job_failed", "broken-indexed", "Job hb-r3indexed/render"),  # its log names nobody else
        (
            "application/autoscaler_blind",
            "broken_requests",
            "HorizontalPodAutoscaler shop/queue",
        ),  # that API is not there
        ("control_plane/webhook_call_fails", "broken", ""),
        ("application/job_failed", "broken", ""),
    ],
)
def test_what_lies_in_the_object_itself_hangs_below_no_node(check: str, fixture: str, speaks: str) -> None:
    found = evaluate(checks()[check], fixture_facts(FIXTURES / check / f"{fixture}.yaml")).findings
    own = {str(f.subject) for f in found if f.own}
    assert speaks in own if speaks else not own


def test_a_policy_whose_words_differ_from_pod_to_pod_is_one_cause_and_one_that_cannot_judge_is_to_be_mended() -> None:
    found = evaluate(
        checks()["application/admission_denied"],
        fixture_facts(FIXTURES / "application/admission_denied/broken-cannot-judge.yaml"),
    )
    causes = correlate([found], checks(), Topology(Facts({})))
    assert sorted((c.finding.subject.name, len(c.symptoms)) for c in causes) == [
        ("hb-err", 2),
        ("hb-name", 3),
        ("hb-par", 2),
        ("hb-wmc", 2),
    ]
    steps = {c.finding.subject.name: c.finding.next[0] for c in causes}
    assert steps["hb-err"].startswith("kubectl edit validatingadmissionpolicy hb-err")
    assert steps["hb-wmc"].startswith("kubectl edit validatingwebhookconfiguration hb-wmc")
    assert steps["hb-par"].startswith("kubectl get validatingadmissionpolicybinding hb-par")
    assert " edit deployment " in steps["hb-name"]
