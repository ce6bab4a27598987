"""The same observations at another moment: a node that is being made, an API server that has just come back."""

from __future__ import annotations

import copy
import dataclasses
from datetime import datetime, timedelta
from typing import Any

import pytest

from kdiag.engine.evaluate import evaluate
from kdiag.engine.library import find
from kdiag.facts import Cluster, Containers, HostContainer, Listener, Listeners, NodeContainers
from kdiag.model.result import Result, Severity, Status
from tests.recording import FIXTURES, facts_of, load, observations

#: When kubeadm wrote the kubeconfigs of the node in the fixtures of manifest_missing.
MADE = 1795337828.97


def result(check: str, fixture: str, **more: Any) -> Result:
    found = find(check)
    return evaluate(found, facts_of(observations({**load(FIXTURES / found.id / fixture), **more})))


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(MADE + seconds).astimezone()


def manifests(*names: str, more: str = "") -> dict[str, Any]:
    """The files of a control-plane node that has these manifests."""
    hosts = copy.deepcopy(load(FIXTURES / "control_plane/manifest_missing/healthy.yaml")["hosts"])
    every = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    lacking = [f"/etc/kubernetes/manifests/{name}.yaml" for name in every if name not in names]

    def kept(text: str, sign: str) -> str:
        return "".join(line for line in text.splitlines(True) if not any(f"{p}{sign}" in line for p in lacking))

    node = hosts["cp1"]
    node["manifest-files"] = kept(node["manifest-files"], "\t") + more
    node["manifests"] = kept(node["manifests"], ":")
    return {"cp1": node}


def test_a_member_of_etcd_that_still_joins_has_no_manifest_yet() -> None:
    hosts = manifests("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    hosts["cp1"].pop("containers", None)
    assert result("manifest_missing", "healthy.yaml", hosts=hosts, taken=at(200)).status is Status.PASS
    late = result("manifest_missing", "healthy.yaml", hosts=hosts, taken=at(400))
    assert [f.message.partition(";")[0] for f in late.findings] == [
        "etcd-cp1 does not run: cp1 has no manifest for it in /etc/kubernetes/manifests"
    ]


@pytest.mark.parametrize("seconds", [100, 250])
def test_other_manifests_are_written_at_once(seconds: float) -> None:
    hosts = manifests("etcd", "kube-apiserver", "kube-controller-manager")
    hosts["cp1"].pop("containers", None)
    found = result("manifest_missing", "healthy.yaml", hosts=hosts, taken=at(seconds)).findings
    assert [f.subject.name for f in found] == ["kube-scheduler-cp1"]


def test_a_manifest_that_was_moved_away_from_a_young_node_is_missing() -> None:
    moved = f"f\tf\t2575\t{MADE + 0.1}\t600\t0\t/root/etcd.yaml\t\n"
    hosts = manifests("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    hosts["cp1"].pop("containers", None)
    hosts["cp1"]["manifest-elsewhere"] = moved
    found = result("manifest_missing", "healthy.yaml", hosts=hosts, taken=at(120)).findings
    assert [f.message for f in found] == [
        "etcd-cp1 does not run: cp1 has no manifest for it in /etc/kubernetes/manifests; there is /root/etcd.yaml"
    ]


@pytest.mark.parametrize(("seconds", "status"), [(70, Status.UNKNOWN), (3600, Status.FAIL)])
def test_rules_that_lag_behind_an_api_server_that_is_just_back_are_unknown(seconds: float, status: Status) -> None:
    """With several control-plane nodes the API's own pod object may be old: its container is what tells."""
    check = find("kube_proxy_rules_missing")
    facts = facts_of(observations(load(FIXTURES / check.id / "broken.yaml")))
    cluster = facts.get(Cluster)
    assert cluster is not None
    server = HostContainer(
        id="a", name="kube-apiserver", pod="kube-apiserver-cp1", namespace="kube-system", state="running",
        started=cluster.taken - timedelta(seconds=seconds),
    )  # fmt: skip
    seen = facts.replaced(Containers.of({"cp1": NodeContainers(containers=(server,))}))
    assert evaluate(check, seen).status is status


@pytest.mark.parametrize(("minutes", "status"), [(1, Status.PASS), (3, Status.FAIL)])
def test_a_node_has_its_static_pods_soon_after_it_is_there(minutes: int, status: Status) -> None:
    taken = datetime.fromisoformat("2026-11-22T08:57:13Z") + timedelta(minutes=minutes)
    assert result("static_pod_missing", "broken.yaml", taken=taken).status is status


@pytest.mark.parametrize(
    ("check", "fixture"),
    [
        ("scheduler_not_running", "api-server-back"),
        ("scheduler_not_running", "back-off"),
        ("scheduler_not_running", "edited"),
        ("scheduler_not_running", "mirror-pod-late"),
        ("controller_manager_not_running", "put-back"),
    ],
)
def test_who_is_on_the_way_up_again_may_not_hold_its_lease_yet(check: str, fixture: str) -> None:
    """The API server was away, or a manifest was edited, or taken away and put back: recorded while it was done."""
    assert result(check, f"{fixture}.yaml").status is Status.UNKNOWN
    taken = datetime.fromisoformat(load(FIXTURES / "control_plane" / check / f"{fixture}.yaml")["taken"])
    assert result(check, f"{fixture}.yaml", taken=taken + timedelta(minutes=2)).status is Status.FAIL


def test_a_component_that_only_prints_something_and_ends_well_does_not_return() -> None:
    fixture = load(FIXTURES / "control_plane/static_pod_failing/healthy-edited.yaml")
    pods = copy.deepcopy(fixture["pods"])
    (status,) = pods[0]["status"]["containerStatuses"]
    status["lastState"]["terminated"].update(startedAt="2026-11-22T19:27:51Z", finishedAt="2026-11-22T19:27:51Z")
    assert result("static_pod_failing", "healthy-edited.yaml", pods=pods, events=[]).status is Status.FAIL


def just_back(check: str, fixture: str) -> dict[str, Any]:
    """The Lease of an API server that came back 20 s before this recording."""
    taken = load(FIXTURES / find(check).id / fixture)["taken"]
    moment = taken if isinstance(taken, datetime) else datetime.fromisoformat(taken)
    made = (moment - timedelta(seconds=20)).isoformat()
    labels = {"apiserver.kubernetes.io/identity": "kube-apiserver"}
    meta = {"name": "apiserver-x", "namespace": "kube-system", "labels": labels, "creationTimestamp": made}
    return {"system-leases": [{"metadata": meta, "spec": {"holderIdentity": "x", "renewTime": made}}]}


def test_coredns_may_not_have_asked_an_api_server_again_that_is_just_back() -> None:
    assert result("coredns_cannot_reach_api", "broken.yaml").status is Status.FAIL
    back = just_back("coredns_cannot_reach_api", "broken.yaml")
    assert result("coredns_cannot_reach_api", "broken.yaml", **back).status is Status.UNKNOWN


def test_a_mirror_pod_lags_behind_an_api_server_that_is_just_back() -> None:
    assert result("manifest_not_applied", "broken.yaml").status is Status.FAIL
    back = just_back("manifest_not_applied", "broken.yaml")
    assert result("manifest_not_applied", "broken.yaml", **back).status is Status.PASS


def test_a_copy_that_kept_its_time_may_have_been_put_back_a_second_ago() -> None:
    """Unless the kubelet is dead, and takes nothing up at all."""
    fixture = copy.deepcopy(load(FIXTURES / "control_plane/manifest_not_applied/broken.yaml"))
    pods, hosts = fixture["pods"], fixture["hosts"]
    for pod in pods:
        pod["metadata"]["creationTimestamp"] = fixture["taken"]
    assert result("manifest_not_applied", "broken.yaml", pods=pods).status is Status.FAIL
    hosts["cp1"].pop("units")
    assert result("manifest_not_applied", "broken.yaml", pods=pods, hosts=hosts).status is Status.PASS


@pytest.mark.parametrize(("seconds", "status"), [(5, Status.PASS), (30, Status.FAIL)])
def test_what_ended_before_its_manifest_was_written_again_says_nothing_for_some_seconds(
    seconds: float, status: Status
) -> None:
    """It is still the newest container there is: the kubelet has not read the manifest as it is now."""
    path = "/etc/kubernetes/manifests/kube-apiserver.yaml"
    hosts = copy.deepcopy(load(FIXTURES / "control_plane/component_exits/broken-audit-policy.yaml")["hosts"])
    lines = hosts["cp1"]["manifest-files"].splitlines()
    (row,) = [line.split("\t") for line in lines if line.split("\t")[6] == path]
    written = float(row[3]) + 60
    hosts["cp1"]["manifest-files"] = "\n".join(
        line.replace(row[3], f"{written:.10f}") if line.split("\t")[6] == path else line for line in lines
    )
    taken = datetime.fromtimestamp(written + seconds).astimezone()
    assert result("component_exits", "broken-audit-policy.yaml", hosts=hosts, taken=taken).status is status


@pytest.mark.parametrize(("seconds", "status"), [(10, Status.PASS), (41, Status.FAIL)])
def test_etcd_is_on_its_way_while_its_manifest_is_only_taken_up(seconds: int, status: Status) -> None:
    taken = datetime.fromtimestamp(1795388896 + seconds).astimezone()
    assert result("etcd_not_running", "written.yaml", taken=taken).status is status


@pytest.mark.parametrize(("seconds", "begins"), [(10, True), (60, False)])
def test_an_api_server_that_does_not_answer_may_only_be_starting_anew(seconds: int, *, begins: bool) -> None:
    fixture = load(FIXTURES / "control_plane/etcd_not_running/written.yaml")
    taken = datetime.fromtimestamp(1795388896 + seconds).astimezone()
    (found,) = result("api_server_unreachable", "broken.yaml", hosts=fixture["hosts"], taken=taken).findings
    assert ("etcd.yaml on cp1 has just been written: the kubelet starts it anew" in found.message) is begins
    assert (found.next[0] == "wait half a minute, then run kdiag check again") is begins


@pytest.mark.parametrize(("seconds", "status"), [(5, Status.PASS), (40, Status.FAIL)])
def test_a_mirror_pod_that_is_older_than_its_manifest_has_a_successor_on_the_way(
    seconds: float, status: Status
) -> None:
    fixture = load(FIXTURES / "control_plane/static_pod_failing/broken-tag.yaml")
    hosts = copy.deepcopy(fixture["hosts"])
    path = "/etc/kubernetes/manifests/kube-scheduler.yaml"
    lines = hosts["cp1"]["manifest-files"].splitlines()
    (row,) = [line.split("\t") for line in lines if line.split("\t")[6] == path]
    written = datetime.fromisoformat(fixture["taken"]).timestamp() + 60
    hosts["cp1"]["manifest-files"] = "\n".join(
        line.replace(row[3], f"{written:.10f}") if line.split("\t")[6] == path else line for line in lines
    )
    taken = datetime.fromtimestamp(written + seconds).astimezone()
    assert result("static_pod_failing", "broken-tag.yaml", hosts=hosts, taken=taken).status is status


@pytest.mark.parametrize("fixture", ["broken-discovery.yaml", "broken-finalizer.yaml"])
def test_a_namespace_waits_for_controllers_that_have_just_begun_again(fixture: str) -> None:
    back = {"pods": [], **just_back("namespace_stuck_terminating", fixture)}
    assert result("namespace_stuck_terminating", fixture, **back).status is Status.UNKNOWN


@pytest.mark.parametrize(("port", "back"), [(2379, True), (2389, False)])
def test_an_api_server_takes_up_to_two_minutes_to_ask_an_etcd_again_that_is_back(port: int, *, back: bool) -> None:
    check = find("api_server_cannot_reach_etcd")
    facts = facts_of(observations(load(FIXTURES / check.id / "broken-running.yaml")))
    cluster, containers = facts.get(Cluster), facts.get(Containers)
    assert cluster is not None
    assert containers is not None
    seen = containers.by_node["cp1"]
    etcd = HostContainer(
        id="e", name="etcd", pod="etcd-cp1", namespace="kube-system", state="running",
        started=cluster.taken - timedelta(seconds=58),
    )  # fmt: skip
    now = dataclasses.replace(seen, containers=(etcd, *(c for c in seen.containers if c.name != "etcd")))
    known = facts.replaced(Containers.of({"cp1": now})).replaced(
        Listeners.of({"cp1": (Listener("127.0.0.1", port, "etcd", 4),)})
    )
    (finding,) = evaluate(check, known).findings
    assert ("; etcd is back since 10:45:10 UTC" in finding.message) is back
    assert (finding.severity is Severity.ERROR) is back


@pytest.mark.parametrize(("called", "severity"), [(0, Severity.WARNING), (8080, Severity.ERROR)])
def test_a_side_port_that_leads_nowhere_is_an_error_where_the_api_server_calls_it(
    called: int, severity: Severity
) -> None:
    service = {"namespace": "monitoring", "name": "kps-prometheus", "port": called}
    hook = {"name": "h.example.com", "clientConfig": {"service": service}}
    config = {"metadata": {"name": "hooks"}, "webhooks": [hook] if called else []}
    found = result("service_target_port_wrong", "broken-side-port.yaml", validatingwebhookconfigurations=[config])
    assert {f.severity for f in found.findings if f.subject.name == "kps-prometheus"} == {severity}


@pytest.mark.parametrize(("nodes", "status"), [(("w1",), Status.PASS), (("w1", "w2"), Status.FAIL)])
def test_pods_that_go_between_two_looks_leave_rules_that_lead_nowhere_on_every_node(
    nodes: tuple[str, ...], status: Status
) -> None:
    fixture = load(FIXTURES / "network/kube_proxy_rules_missing/healthy-rollout.yaml")
    rules = fixture["hosts"]["w1"]["iptables-nat"]
    empty = "".join(line for line in rules.splitlines(True) if "->" not in line)
    stale = rules.replace("10.244.1.198", "10.244.1.9")
    hosts = {name: {"iptables-nat": empty if name == "w1" else stale} for name in nodes}
    proxy = next(p for p in fixture["pods"] if p["metadata"]["name"].startswith("kube-proxy"))
    others = [p for p in fixture["pods"] if p is not proxy]
    proxies = [copy.deepcopy(proxy) for _ in nodes]
    for name, pod in zip(nodes, proxies, strict=True):
        pod["metadata"]["name"], pod["spec"]["nodeName"] = f"kube-proxy-{name}", name
    later = datetime.fromisoformat(fixture["taken"]) + timedelta(minutes=5)
    found = result(
        "kube_proxy_rules_missing", "healthy-rollout.yaml", hosts=hosts, pods=[*others, *proxies], taken=later
    )
    assert found.status is status


@pytest.mark.parametrize(
    ("said", "severity"),
    [
        ("listening on :8080", Severity.WARNING),
        ("ERROR Can't connect to MySQL server on 'zero:80': connect: connection refused", Severity.ERROR),
    ],
)
def test_what_is_at_zero_is_an_error_once_a_user_of_it_complains(said: str, severity: Severity) -> None:
    fixture = load(FIXTURES / "application/workload_scaled_to_zero/broken.yaml")
    user = next(p for p in fixture["pods"] if p["metadata"]["name"].startswith("zeroclient"))
    meta, container = user["metadata"], user["spec"]["containers"][0]["name"]
    log = {f"{meta['namespace']}/{meta['name']}/{container}/current": f"{fixture['taken'][:19]}Z {said}\n"}
    (found,) = result("workload_scaled_to_zero", "broken.yaml", log=log).findings
    assert found.severity is severity


def test_a_pods_name_that_does_not_resolve_is_about_the_service_in_it() -> None:
    (found,) = result("dependency_name_unresolved", "broken-no-service.yaml").findings
    assert [ref.path for ref in found.touches] == ["d-sts/q-headless"]


def test_a_service_that_no_node_has_heard_of_was_deleted_while_kdiag_looked() -> None:
    fixture = load(FIXTURES / "network/kube_proxy_rules_missing/healthy.yaml")
    lists: dict[str, Any] = {}
    for key in ("services", "endpointslices"):
        more = copy.deepcopy([o for o in fixture[key] if o["metadata"]["name"].startswith("kube-dns")])
        for item in more:
            item["metadata"]["name"] = item["metadata"]["name"].replace("kube-dns", "gone")
            if key == "services":
                item["spec"].update(clusterIP="10.96.77.77", clusterIPs=["10.96.77.77"])
            else:
                item["metadata"]["labels"]["kubernetes.io/service-name"] = "gone"
                for endpoint in item["endpoints"]:
                    endpoint.pop("targetRef", None)
        lists[key] = [*fixture[key], *more]
    found = result("kube_proxy_rules_missing", "healthy.yaml", **lists)
    assert (found.status, found.findings) == (Status.UNKNOWN, ())
    assert "no node has rules for Service kube-system/gone" in found.gaps[0].reason


def ready_and_saying(path: str, *lines: str) -> dict[str, Any]:
    """The pod of a fixture as one that is ready and never restarted, and says this every ten seconds until now."""
    fixture = load(FIXTURES / path)
    pod = copy.deepcopy(fixture["pods"][0])
    status, meta = pod["status"]["containerStatuses"][0], pod["metadata"]
    running = {"running": {"startedAt": meta["creationTimestamp"]}}
    status |= {"ready": True, "started": True, "restartCount": 0, "state": running, "lastState": {}}
    pod["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    taken = datetime.fromisoformat(fixture["taken"])
    times = [(taken - timedelta(seconds=s)).strftime("%Y-%m-%dT%H:%M:%SZ") for s in range(95, 0, -10)]
    name = f"{meta['namespace']}/{meta['name']}/{status['name']}/current"
    return {"pods": [pod, *fixture["pods"][1:]], "log": {name: "".join(f"{t} {s}\n" for t in times for s in lines)}}


@pytest.mark.parametrize(
    ("check", "fixture", "said", "severity"),
    [
        ("disk_full_in_container", "broken.yaml", "backup: No space left on device (os error 28)", Severity.WARNING),
        ("disk_full_in_container", "broken.yaml", "/data/db/x: write: No space left on device", Severity.ERROR),
        ("dependency_name_unresolved", "broken-outside.yaml", "lookup vendor.example: no such host", Severity.WARNING),
    ],
)
def test_one_that_is_ready_lives_with_what_it_logs_but_where_its_own_volume_is_full(
    check: str, fixture: str, said: str, severity: Severity
) -> None:
    path = f"{find(check).id}/{fixture}"
    (found,) = result(check, fixture, **ready_and_saying(path, said)).findings
    assert found.severity is severity


def test_one_that_is_ready_lives_with_what_it_may_not_ask() -> None:
    assert {f.severity for f in result("api_access_forbidden", "broken.yaml").findings} == {Severity.WARNING}


@pytest.mark.parametrize(("label", "by_hand"), [("disk", True), ("kubernetes.io/os", False)])
def test_a_label_that_a_kubelet_gives_its_node_is_not_put_there_by_hand(label: str, *, by_hand: bool) -> None:
    fixture = load(FIXTURES / "application/scheduling_node_selector_unmatched/broken.yaml")
    pods = copy.deepcopy(fixture["pods"])
    for pod in pods:
        if "nodeSelector" in pod["spec"]:
            pod["spec"]["nodeSelector"] = {label: "other"}
    found = result("scheduling_node_selector_unmatched", "broken.yaml", pods=pods).findings
    assert found
    assert any("label node" in step for f in found for step in f.next) is by_hand


@pytest.mark.parametrize(
    ("fixture", "said"),
    [
        ("broken-finalizer.yaml", "it was to be gone at 2026-11-22T09:55:04Z"),
        ("broken-kubelet.yaml", "it was to be gone at 2026-11-22T09:50:00Z (grace period 30 s)"),
    ],
)
def test_a_pod_that_was_to_be_gone_says_when_and_of_no_grace_period_that_nobody_gave_it(
    fixture: str, said: str
) -> None:
    (finding,) = result("pod_stuck_terminating", fixture).findings
    assert finding.evidence[0].shown.endswith(said)


def test_a_cron_job_whose_quota_has_room_by_now_has_not_made_its_jobs_yet() -> None:
    amount = {"count/jobs.batch": "20"}
    roomy = {
        "metadata": {"name": "objects", "namespace": "shop"},
        "spec": {"hard": amount},
        "status": {"hard": amount, "used": {"count/jobs.batch": "10"}},
    }
    said = [f.message for f in result("quota_exceeded", "broken_forms.yaml", resourcequotas=[roomy]).findings]
    assert "CronJob shop/report has not made its Jobs yet: quota objects was full, and has room by now" in said
