"""A component of the control plane was given another range of addresses than kubeadm set the cluster up with."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from kdiag.check import Evidence, Finding, Gap, Layer, Severity, check, kubectl
from kdiag.facts import ConfigMaps, Manifests, Pods, Services, component, flag
from kdiag.facts.podyaml import Document, read_yaml

# The component, its flag, and where kubeadm's ClusterConfiguration has the same.
_SAME = (
    ("kube-apiserver", "service-cluster-ip-range", "serviceSubnet"),
    ("kube-controller-manager", "service-cluster-ip-range", "serviceSubnet"),
    ("kube-controller-manager", "cluster-cidr", "podSubnet"),
)
_Network = IPv4Network | IPv6Network


@check(
    title="Address range differs from kubeadm's",
    severity=Severity.WARNING,
    layer=Layer.CONTROLLERS,
    explains=("control_plane/certificate_names_incomplete", "control_plane/manifest_differs_between_nodes"),
    tags=("kubeadm", "manifests", "apiserver", "controller-manager", "network"),
    namespaces=("kube-system",),
)
def network_range_differs(
    pods: Pods, configs: ConfigMaps, services: Services | None, manifests: Manifests | None
) -> Iterator[Finding | Gap]:
    """Somebody who widens a range changes both; a slip of the hand changes the manifest alone.

    The file decides where it was read: the API shows what was there before until the kubelet reaches it again.
    """
    config = configs.get("kubeadm-config", "kube-system")
    document = read_yaml(config.data.get("ClusterConfiguration", "")) if config else None
    if not isinstance(document, Document):
        return
    for pod in pods.within("kube-system"):
        for part, name, place in _SAME if pod.mirror else ():
            if component(pod) != part or not pod.spec.containers:
                continue
            node = manifests.get(pod.node) if manifests else None
            manifest = node.of(part) if node else None
            written = manifest.flag(name) if manifest else None
            given = written.value if written else flag(pod.spec.containers[0], name) or ""
            wanted = document.at("networking", place)
            ours, theirs = _networks(given), _networks(wanted)
            if not ours or not theirs or ours == theirs:
                continue
            if manifests is not None and node is None and manifests.gaps:
                yield manifests.gaps[0]  # the API may show what was there before
                continue
            out = _outside(ours, services) if part == "kube-apiserver" else ""
            yield Finding(
                pod.ref(),
                f"static pod {pod.path} has --{name} {given}, and the cluster was made with {place} {wanted}"
                + (f": the address of {out} lies outside" if out else ""),
                evidence=(
                    manifest.quote(pod.node, written.line)
                    if manifest and written
                    else Evidence(
                        kubectl("get", "pod", pod.name, "-o", "yaml", namespace="kube-system"), f"--{name}={given}"
                    ),
                    Evidence(
                        kubectl("get", "configmap", "kubeadm-config", "-o", "yaml", namespace="kube-system"),
                        f"{place}: {wanted}",
                    ),
                ),
                next=(
                    f"ssh {pod.node} sudo grep -n -- --{name} /etc/kubernetes/manifests/{part}.yaml",
                    f"ssh -t {pod.node} sudoedit /etc/kubernetes/manifests/{part}.yaml    # --{name}={wanted}",
                    "if the new range is meant: kubectl -n kube-system edit configmap kubeadm-config, or the next"
                    " kubeadm upgrade puts the old one back",
                ),
                key=name,
                severity=Severity.ERROR if out else None,
            )


def _networks(text: object) -> frozenset[_Network]:
    """The networks of a list with commas; empty when one of them is none."""
    words = [word.strip() for word in text.split(",")] if isinstance(text, str) else []
    try:
        return frozenset(ip_network(word, strict=False) for word in words)
    except ValueError:
        return frozenset()


def _outside(networks: frozenset[_Network], services: Services | None) -> str:
    """The Service of the API server, when its address is in none of the networks."""
    api = services.get("kubernetes", "default") if services else None
    try:
        address = ip_address(api.spec.cluster_ip) if api else None
    except ValueError:
        return ""
    return f"Service default/kubernetes ({address})" if address and not any(address in n for n in networks) else ""
