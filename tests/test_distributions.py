"""Clusters of other makers: a healthy one is silent, and what breaks in one is named in its own terms."""

# ruff: noqa: E501  (a message is one line, as it was written)

from __future__ import annotations

from collections.abc import Callable

import pytest

from kdiag.engine.intake import known, sources
from kdiag.engine.library import checks
from kdiag.engine.narrow import narrowed
from kdiag.engine.verdict import judge
from kdiag.facts.base import ApiList
from kdiag.model.result import Status
from tests.foreign import Foreign, distributions
from tests.recording import facts_of
from tests.whole import name_of, tree

Break = Callable[[], Foreign]
BREAKS: dict[str, tuple[Break, str, str]] = {}


@pytest.mark.parametrize("name", distributions())
def test_a_healthy_distribution_has_no_finding(name: str) -> None:
    foreign = Foreign(name)
    found = foreign.verdict()
    assert found.causes == (), tree(found.causes)
    told = [n.finding.message for n in found.infos]
    assert [t for t in told if not t.startswith(tuple(foreign.remarks))] == []
    assert len(told) == len(foreign.remarks)
    assert not found.of(Status.ERROR)
    unknown = {r.check_id: [(g.source, g.reason) for g in r.gaps] for r in found.of(Status.UNKNOWN)}
    assert unknown == {}


def first(check: str, said: str) -> Callable[[Break], Break]:
    """Register a break: its first cause as ``check kind/path``, and what its message says."""

    def keep(build: Break) -> Break:
        BREAKS[build.__name__] = build, check, said
        return build

    return keep


@first(
    "network/network_plugin_daemonset_unavailable DaemonSet/kube-system/aws-node",
    "does not run on ip-10-0-1-12.eu-central-1.compute.internal: aws-node crashes",
)
def eks_aws_node_crashes() -> Foreign:
    eks = Foreign("eks")
    agent = eks.of("DaemonSet", "kube-system/aws-node")[0]
    eks.crash(
        agent, "aws-node", '{"level":"error","msg":"Failed to initialise IPAMD","error":"context deadline exceeded"}'
    )
    said = 'code = Unknown desc = failed to setup network for sandbox "abc": plugin type="aws-cni" name="aws-cni" failed (add): add cmd: failed to assign an IP address to container'
    eks.no_network(eks.of("Deployment", "shop/web")[0], agent["spec"]["nodeName"], said)
    return eks


@first("network/pod_sandbox_fails Node/ip-10-0-1-12.eu-central-1.compute.internal", "no pod address is free")
def eks_subnet_has_no_address_left() -> Foreign:
    eks = Foreign("eks")
    pod = eks.of("Deployment", "shop/web")[0]
    said = 'code = Unknown desc = failed to setup network for sandbox "abc": plugin type="aws-cni" name="aws-cni" failed (add): add cmd: failed to assign an IP address to container'
    eks.no_network(pod, pod["spec"]["nodeName"], said)
    return eks


@first("application/scheduling_insufficient_resources Deployment/shop/web", "requests 16 cpu")
def eks_karpenter_has_no_instance_type() -> Foreign:
    eks = Foreign("eks")
    pod = eks.of("Deployment", "shop/web")[0]
    eks.pending(
        pod,
        "0/5 nodes are available: 1 node(s) had untolerated taint {eks.amazonaws.com/compute-type: fargate}, 1 node(s) had untolerated taint {os: windows}, 3 Insufficient cpu. preemption: 0/5 nodes are available: 2 Preemption is not helpful for scheduling, 3 No preemption victims found for incoming pod.",
        minutes=12,
    )
    for container in pod["spec"]["containers"]:
        container["resources"] = {"requests": {"cpu": "16"}}
    said = 'Failed to schedule pod, incompatible with nodepool "general", daemonset overhead={"cpu":"180m"}, no instance type satisfied resources {"cpu":"16180m"} and requirements karpenter.sh/capacity-type In [spot]'
    eks.event("Pod", f"shop/{pod['metadata']['name']}", "FailedScheduling", said, "karpenter", seconds=40)
    return eks


@first("application/scheduling_taint_untolerated Deployment/serverless/api", "dedicated=system:NoSchedule")
def eks_fargate_profile_is_missing() -> Foreign:
    eks = Foreign("eks")
    fargate = "fargate-ip-10-0-4-101.eu-central-1.compute.internal"
    for pod in eks.lists["pods"]:
        pod["spec"].setdefault("tolerations", [{"operator": "Exists"}])
    (pod,) = eks.of("Deployment", "serverless/api")
    pod["spec"].update(schedulerName="default-scheduler", tolerations=[])
    pod["metadata"]["labels"].pop("eks.amazonaws.com/fargate-profile")
    eks.remove("nodes", fargate)
    eks.remove("node-leases", fargate, "kube-node-lease")
    for node in eks.lists["nodes"][:3]:
        node["spec"]["taints"] = [{"key": "dedicated", "value": "system", "effect": "NoSchedule"}]
    eks.pending(
        pod,
        "0/4 nodes are available: 1 node(s) had untolerated taint {os: windows}, 3 node(s) had untolerated taint {dedicated: system}. preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling.",
        minutes=12,
    )
    return eks


@first(
    "application/container_crashes Deployment/kube-system/aws-load-balancer-controller",
    "unable to create controller: WebIdentityErr",
)
def eks_role_of_a_controller_is_not_trusted() -> Foreign:
    eks = Foreign("eks")
    said = '{"level":"error","ts":"2026-11-22T09:29:00Z","logger":"setup","msg":"unable to create controller","error":"WebIdentityErr: failed to retrieve credentials\\ncaused by: AccessDenied: Not authorized"}'
    for pod in eks.of("Deployment", "kube-system/aws-load-balancer-controller"):
        eks.crash(pod, "aws-load-balancer-controller", said)
    return eks


@first("network/cluster_dns_unavailable Service/openshift-dns/dns-default", "runs on no node: no node has dns=yes")
def openshift_dns_is_placed_on_no_node() -> Foreign:
    openshift = Foreign("openshift")
    for pod in openshift.of("DaemonSet", "openshift-dns/dns-default"):
        openshift.lists["pods"].remove(pod)
    daemonset = openshift.get("daemonsets", "dns-default", "openshift-dns")
    daemonset["spec"]["template"]["spec"]["nodeSelector"] = {"dns": "yes"}
    daemonset["status"] = {"desiredNumberScheduled": 0, "currentNumberScheduled": 0, "observedGeneration": 1}
    return openshift


@first("network/coredns_corefile_invalid ConfigMap/openshift-dns/dns-default", "line 3: Unknown directive 'error'")
def openshift_dns_does_not_read_its_corefile() -> Foreign:
    openshift = Foreign("openshift")
    for pod in openshift.of("DaemonSet", "openshift-dns/dns-default"):
        openshift.crash(pod, "dns", "/etc/coredns/Corefile:3 - Error during parsing: Unknown directive 'error'")
    return openshift


@first(
    "application/container_crashes Deployment/openshift-apiserver/apiserver", "container openshift-apiserver crashes"
)
def openshift_aggregated_api_crashes() -> Foreign:
    openshift = Foreign("openshift")
    for pod in openshift.of("Deployment", "openshift-apiserver/apiserver"):
        openshift.crash(pod, "openshift-apiserver")
    for api in ("v1.apps.openshift.io", "v1.route.openshift.io", "v1.image.openshift.io"):
        openshift.mute(api, "MissingEndpoints", 'endpoints for service/api in "openshift-apiserver" have no addresses')
    return openshift


@first("application/container_crashes Deployment/kube-system/konnectivity-agent", "konnectivity-agent crashes")
def gke_tunnel_to_the_nodes_is_down() -> Foreign:
    gke = Foreign("gke-standard")
    for pod in gke.of("Deployment", "kube-system/konnectivity-agent"):
        gke.crash(pod, "konnectivity-agent")
    said = "failing or missing response from https://10.4.0.7:10250/apis/metrics.k8s.io/v1beta1: No agent available"
    gke.mute("v1beta1.metrics.k8s.io", "FailedDiscoveryCheck", said)
    return gke


@first("network/coredns_scaled_to_zero Deployment/kube-system/kube-dns", "is scaled to zero")
def gke_kube_dns_is_scaled_to_zero_and_nothing_replaces_it() -> Foreign:
    gke = Foreign("gke-standard")
    gke.zero("kube-system/kube-dns")
    return gke


@first("application/cluster_without_nodes Cluster/cluster", "the cluster has no node")
def gke_node_pools_are_scaled_to_zero() -> Foreign:
    gke = Foreign("gke-standard")
    for key in ("nodes", "node-leases"):
        gke.lists[key].clear()
    left = {"DaemonSet", "Node"}
    kinds = {id(p): p["metadata"].get("ownerReferences", [{}])[0].get("kind") for p in gke.lists["pods"]}
    gke.lists["pods"] = [p for p in gke.lists["pods"] if kinds[id(p)] not in left]
    for pod in gke.lists["pods"]:
        if pod["status"]["phase"] == "Running":
            gke.pending(pod, "no nodes available to schedule pods", days=3)
    for daemonset in gke.lists["daemonsets"]:
        daemonset["status"] = {"observedGeneration": 1, "desiredNumberScheduled": 0, "numberReady": 0}
    return gke


@first("application/container_crashes Pod/kube-system/kube-proxy-gke-prod-spot-5e6f7a8b-q2wn", "crashes, exit code 1")
def gke_kube_proxy_of_a_node_crashes() -> Foreign:
    gke = Foreign("gke-standard")
    gke.crash(gke.get("pods", "kube-proxy-gke-prod-spot-5e6f7a8b-q2wn", "kube-system"), "kube-proxy")
    return gke


@first("application/container_crashes Deployment/istio-system/istiod", "crashes, exit code 1")
def istio_sidecar_waits_for_a_control_plane_that_crashes() -> Foreign:
    mesh = Foreign("kubeadm-calico-mesh")
    for pod in mesh.of("Deployment", "istio-system/istiod"):
        mesh.crash(pod, "discovery")
    pod = mesh.of("Deployment", "mesh/reviews")[0]
    mesh.fresh(pod, minutes=8)
    running = {"running": {"startedAt": mesh.ago(minutes=8)}}
    pod["status"]["initContainerStatuses"][1].update(ready=False, started=False, state=running)
    pod["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "PodInitializing"}}
    pod["status"]["phase"] = "Pending"
    said = 'Startup probe failed: Get "http://192.168.1.30:15021/healthz/ready": dial tcp 192.168.1.30:15021: connect: connection refused'
    mesh.event("Pod", f"mesh/{pod['metadata']['name']}", "Unhealthy", said, seconds=5)
    address = mesh.get("services", "istiod", "istio-system")["spec"]["clusterIP"]
    log = f'warning envoy config StreamAggregatedResources gRPC config stream to xds-grpc closed: 14, connection error: desc = "transport: Error while dialing: dial tcp {address}:15012: connect: connection refused"'
    mesh.log(f"mesh/{pod['metadata']['name']}/istio-proxy/current", f"{mesh.ago(seconds=5)} {log}\n")
    return mesh


@first("application/readiness_probe_fails Deployment/istio-ingress/gateway", ":15021/healthz/ready answers 503")
def istio_gateway_is_not_ready() -> Foreign:
    mesh = Foreign("kubeadm-calico-mesh")
    (pod,) = mesh.of("Deployment", "istio-ingress/gateway")
    mesh.unready(pod, minutes=20)
    said = "Readiness probe failed: HTTP probe failed with statuscode: 503"
    mesh.event("Pod", f"istio-ingress/{pod['metadata']['name']}", "Unhealthy", said, seconds=5)
    return mesh


@first(
    "network/network_plugin_daemonset_unavailable DaemonSet/calico-system/calico-node",
    "no pod of calico-typha, which it asks, is ready",
)
def calico_typha_crashes() -> Foreign:
    mesh = Foreign("kubeadm-calico-mesh")
    for pod in mesh.of("Deployment", "calico-system/calico-typha"):
        mesh.crash(pod, "calico-typha")
    said = 'Readiness probe failed: calico/node is not ready: felix is not ready: Get "http://localhost:9099/readiness": dial tcp [::1]:9099: connect: connection refused'
    for pod in mesh.of("DaemonSet", "calico-system/calico-node"):
        mesh.unready(pod, minutes=5)
        mesh.event("Pod", f"calico-system/{pod['metadata']['name']}", "Unhealthy", said, seconds=5)
    return mesh


@first("application/container_crashes Deployment/kyverno/kyverno-admission-controller", "exit code 137")
def kyverno_is_killed() -> Foreign:
    mesh = Foreign("kubeadm-calico-mesh")
    for pod in mesh.of("Deployment", "kyverno/kyverno-admission-controller"):
        mesh.crash(pod, "kyverno", code=137)
    return mesh


@first("application/init_container_fails Deployment/argocd/argocd-repo-server", "Already exists")
def argo_cd_does_not_start_again() -> Foreign:
    mesh = Foreign("kubeadm-calico-mesh")
    (pod,) = mesh.of("Deployment", "argocd/argocd-repo-server")
    mesh.crash(pod, "copyutil", "/bin/ln: /var/run/argocd/argocd-cmp-server: Already exists")
    return mesh


@first("network/network_plugin_daemonset_unavailable DaemonSet/kube-system/cilium", "talos-w-1: cilium-agent crashes")
def cilium_agent_is_down_on_a_node() -> Foreign:
    talos = Foreign("talos-cilium")
    agent = next(p for p in talos.of("DaemonSet", "kube-system/cilium") if p["spec"]["nodeName"] == "talos-w-1")
    talos.crash(
        agent, "cilium-agent", 'level=fatal msg="failed to start: unable to connect to get node spec from apiserver"'
    )
    said = 'code = Unknown desc = failed to setup network for sandbox "x": plugin type="cilium-cni" name="cilium" failed (add): unable to connect to Cilium daemon: dial unix /var/run/cilium/cilium.sock: connect: connection refused'
    talos.no_network(talos.of("Deployment", "shop/web")[0], "talos-w-1", said)
    return talos


@first("application/container_crashes Deployment/cert-manager/cert-manager-webhook", "crashes, exit code 1")
def cert_manager_webhook_crashes() -> Foreign:
    talos = Foreign("talos-cilium")
    for pod in talos.of("Deployment", "cert-manager/cert-manager-webhook"):
        talos.crash(pod, "cert-manager-webhook")
    return talos


@first("network/coredns_scaled_to_zero Deployment/kube-system/coredns", "is scaled to zero")
def k3s_dns_is_scaled_to_zero() -> Foreign:
    k3s = Foreign("k3s")
    k3s.zero("kube-system/coredns")
    return k3s


@first(
    "application/container_crashes Job/kube-system/helm-install-traefik", "cannot re-use a name that is still in use"
)
def k3s_chart_is_not_installed() -> Foreign:
    k3s = Foreign("k3s")
    (pod,) = k3s.of("Job", "kube-system/helm-install-traefik")
    pod["status"]["phase"] = "Running"
    k3s.crash(pod, "helm", "Error: INSTALLATION FAILED: cannot re-use a name that is still in use")
    job = k3s.get("jobs", "helm-install-traefik", "kube-system")
    job["status"] = {"active": 1, "failed": 6, "ready": 0, "startTime": k3s.ago(minutes=20)}
    return k3s


@first("network/coredns_scaled_to_zero Deployment/kube-system/rke2-coredns-rke2-coredns", "is scaled to zero")
def rke2_dns_is_scaled_to_zero() -> Foreign:
    rke2 = Foreign("rke2")
    rke2.zero("kube-system/rke2-coredns-rke2-coredns")
    return rke2


@first("control_plane/static_pod_failing Pod/kube-system/kube-scheduler-rke-server-1", "exit code 1")
def rke2_schedulers_crash() -> Foreign:
    rke2 = Foreign("rke2")
    for number in (1, 2, 3):
        rke2.crash(rke2.get("pods", f"kube-scheduler-rke-server-{number}", "kube-system"), "kube-scheduler")
    rke2.get("system-leases", "kube-scheduler", "kube-system")["spec"]["renewTime"] = rke2.ago(minutes=9)
    rke2.pending(rke2.of("Deployment", "cattle-system/rancher-webhook")[0], minutes=4)
    return rke2


@first("worker_node/node_not_ready Node/virtual-node-aci-linux", "virtual-node-aci-linux is not Ready")
def aks_virtual_node_is_lost() -> Foreign:
    aks = Foreign("aks")
    aks.lost("virtual-node-aci-linux")
    return aks


@first("application/container_crashes Deployment/kube-system/antrea-controller", "crashes, exit code 1")
def antrea_controller_crashes() -> Foreign:
    old = Foreign("tkg-antrea-old")
    for pod in old.of("Deployment", "kube-system/antrea-controller"):
        old.crash(pod, "antrea-controller")
    for api in ("v1beta2.controlplane.antrea.io", "v1alpha1.stats.antrea.io", "v1beta1.system.antrea.io"):
        old.mute(api, "MissingEndpoints", 'endpoints for service/antrea in "kube-system" have no addresses')
    return old


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_is_named_first(name: str) -> None:
    build, cause, said = BREAKS[name]
    foreign = build()
    foreign.settle()
    found = foreign.verdict()
    assert found.causes, "nothing was seen"
    assert name_of(found.causes[0]) == cause, tree(found.causes)
    assert said in found.causes[0].finding.message, tree(found.causes)
    assert not found.of(Status.ERROR)


#: What else may stand beside the first cause: what is not known to follow from it.
_BESIDE = {"calico_typha_crashes": 1, "rke2_schedulers_crash": 2}


@pytest.mark.parametrize("name", BREAKS)
def test_everything_else_follows_from_it(name: str) -> None:
    foreign = BREAKS[name][0]()
    foreign.settle()
    found = foreign.verdict()
    assert len(found.causes) == 1 + _BESIDE.get(name, 0), tree(found.causes)


def test_why_an_autoscaler_brings_no_node_is_evidence() -> None:
    found = eks_karpenter_has_no_instance_type()
    found.settle()
    shown = [e.shown for e in found.verdict().causes[0].finding.evidence]
    assert any(s.startswith("karpenter: Failed to schedule pod, incompatible with nodepool") for s in shown), shown


def test_what_another_scheduler_says_is_evidence() -> None:
    eks = Foreign("eks")
    (pod,) = eks.of("Deployment", "serverless/api")
    eks.pending(pod, minutes=12)
    said = "Pod provisioning timed out (will retry) for pod: serverless/api"
    eks.event("Pod", f"serverless/{pod['metadata']['name']}", "FailedScheduling", said, "fargate-scheduler", seconds=40)
    eks.settle()
    (cause,) = eks.verdict().causes
    assert said in [e.shown for e in cause.finding.evidence]


def test_a_webhook_for_its_own_group_refuses_nothing_else() -> None:
    found = cert_manager_webhook_crashes()
    found.settle()
    text = tree(found.verdict().causes)
    assert "refuses each create of every resource of cert-manager.io" in text
    assert "CRITICAL" not in text


def test_a_probe_that_runs_a_command_has_no_port() -> None:
    found = calico_typha_crashes()
    found.settle()
    assert "port None" not in tree(found.verdict().causes)


def test_without_its_tunnel_the_api_server_reaches_no_service() -> None:
    found = gke_tunnel_to_the_nodes_is_down()
    found.settle()
    text = tree(found.verdict().causes)
    assert text.index("api_server_tunnel_down") < text.index("metrics_server_unavailable")


#: What a user of one namespace may not list.
CLUSTER_WIDE = frozenset(s.key for s in sources(known()) if isinstance(s, ApiList) and not s.namespaced) | {
    "node-leases",
    "system-leases",
}


@pytest.mark.parametrize("name", distributions())
def test_a_healthy_distribution_has_no_finding_for_who_may_read_little(name: str) -> None:
    chosen = [c for c in checks().values() if not c.risk]
    for refused in (frozenset[str](), CLUSTER_WIDE):
        foreign = Foreign(name)
        foreign.refused = set(refused)
        seen = list(foreign.observations())
        for namespace in sorted({"kube-system", *(n["metadata"]["name"] for n in foreign.lists["namespaces"][4:7])}):
            found = judge(chosen, facts_of(narrowed(seen, namespace)), checks())
            assert found.causes == (), (namespace, tree(found.causes))
            assert not found.of(Status.ERROR)


@pytest.mark.parametrize("name", ["eks", "gke-autopilot", "openshift"])
def test_a_list_that_is_refused_is_no_fault_of_a_distribution(name: str) -> None:
    foreign = Foreign(name)
    for key in foreign.lists:
        foreign.refused = {key}
        found = foreign.verdict(reading=key)
        assert found.causes == (), (key, tree(found.causes))
        assert not found.of(Status.ERROR), key
