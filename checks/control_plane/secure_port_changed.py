"""The API server listens elsewhere than all its clients on the node look for it."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import COMPONENT_FAILS, Evidence, Finding, Layer, Severity, check, listing, whole
from kdiag.facts import (
    Flag,
    Manifest,
    Manifests,
    NodeManifests,
    manifest_repair,
    server_urls,
    stands_still,
    static_pod,
)

_NAME = "kube-apiserver"


@check(
    title="API server listens where nobody looks for it",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(
        *COMPONENT_FAILS,
        "control_plane/manifest_probe_wrong",
    ),
    tags=("static-pods", "manifests", "apiserver"),
)
def secure_port_changed(manifests: Manifests) -> Iterator[Finding]:
    """--secure-port and --bind-address against the kubeconfigs that lead to this node; --advertise-address as well."""
    for node, found in manifests:
        api = found.of(_NAME)
        if api is None or not api.flags:
            continue
        wrong = _port(api, found) or _address(api, found)
        if not wrong:
            continue
        flag, what, meant = wrong
        subject = static_pod(_NAME, node)
        users = [f"{path.rpartition('/')[2]}: {server}" for path, (server, _) in sorted(found.servers.items())]
        yield Finding(
            subject,
            f"{subject.name} cannot be reached: {api.where(flag.line)} --{flag.name}: {what}",
            evidence=(
                api.quote(node, flag.line),
                Evidence("grep -n server: /etc/kubernetes/*.conf", listing(users, 5) or "none", node),
            ),
            next=manifest_repair(node, api, flag.line, meant),
            touches=stands_still(manifests, _NAME),
            key=flag.name,
        )


def _local(found: NodeManifests) -> list[tuple[str, int]]:
    """Host and port of the kubeconfigs that lead to this node itself."""
    ends = [server_urls(server, default=443) for server, _ in found.servers.values()]
    return [(e.host, e.port) for one in ends for e in one if not e.fault and (e.loopback or e.host in found.addresses)]


def _port(api: Manifest, found: NodeManifests) -> tuple[Flag, str, str] | None:
    flag = api.flag("secure-port")
    asked = {port for _, port in _local(found)}
    given = whole(flag.value) if flag else None
    if flag is None or given is None or len(_local(found)) < 2 or len(asked) != 1:
        return None
    port = asked.pop()
    # A load balancer on the node may translate the port: the manifest itself must tell what it was.
    if given == port or port not in _said(api):
        return None
    return flag, f"it listens on {flag.value}, and every kubeconfig of the node says {port}", f"--secure-port={port}"


def _address(api: Manifest, found: NodeManifests) -> tuple[Flag, str, str] | None:
    bind = api.flag("bind-address")
    hosts = {host for host, _ in _local(found)}
    if bind and bind.value not in ("0.0.0.0", "::", "") and hosts and bind.value not in hosts:  # noqa: S104
        loopback = bind.value.startswith("127.") or bind.value == "::1"
        if loopback or (found.addresses and bind.value not in found.addresses):
            who = listing(sorted(hosts), 2)
            return bind, f"it listens only on {bind.value}, and the kubeconfigs say {who}", "--bind-address=0.0.0.0"
    advertise = api.flag("advertise-address")
    if advertise and found.addresses and advertise.value not in found.addresses and hosts:
        known = sorted(h for h in hosts if not h.startswith("127."))
        # An address outside of the machine may be meant (NAT); kubeadm's note of it tells when it was changed.
        if known and _endpoint(api).rpartition(":")[0].strip("[]") in known:
            what = f"{advertise.value} is no address of the node: pods reach the API server there and nowhere else"
            return advertise, what, f"--advertise-address={known[0]}"
    return None


def _endpoint(api: Manifest) -> str:
    """Where kubeadm noted, when it wrote the manifest, that the API server is."""
    notes = api.document.at("metadata", "annotations")
    said = (
        notes.get("kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint") if isinstance(notes, dict) else ""
    )
    return said if isinstance(said, str) else ""


def _said(api: Manifest) -> set[int]:
    """The ports that the manifest names besides the flag."""
    ports = {p.container_port for p in api.container.ports}
    ports |= {n for _, p in api.container.probes() if p.port is not None and (n := api.container.port_number(p.port))}
    noted = whole(_endpoint(api).rpartition(":")[2])
    return ports if noted is None else {*ports, noted}
