"""The resolver file that a node's kubelet hands to CoreDNS names a loopback address, so CoreDNS asks itself."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, listing, present
from kdiag.facts import ClusterDNS, ConfigMaps, HostResolvers, corefile_map

_SYSTEMD = "/run/systemd/resolve/resolv.conf"


@check(
    title="Node hands out a loopback resolver",
    severity=Severity.WARNING,
    layer=Layer.HOST,
    explains=("network/coredns_forward_loop", "network/coredns_upstream_unreachable"),
    tags=("dns", "coredns", "kubelet", "node"),
)
def node_resolver_loops(
    resolvers: HostResolvers, dns: ClusterDNS | None, configs: ConfigMaps | None
) -> Iterator[Finding]:
    """It hurts where a DNS pod runs, or once one is scheduled there: 127.0.0.53 is the pod itself, inside of it."""
    if dns and configs and not _forwards(dns, configs):
        return
    for node, told in resolvers:
        servers = told.servers
        if not servers or not told.config_read:
            continue
        own = [s for s in servers if s.startswith("127.") or s == "::1"]
        if not own:
            continue
        real = [s for s in (told.files or {}).get(_SYSTEMD, ()) if not s.startswith("127.") and s != "::1"]
        here = [p for p in dns.pods if p.node == node] if dns else []
        source = f"{told.said_in}:{told.line} resolvConf" if told.said_in else "the kubelet's default"
        yield Finding(
            Ref("Node", node),
            f"{node} hands CoreDNS the nameserver {own[0]} ({told.path}), which is CoreDNS itself inside a pod",
            evidence=present(
                Evidence(f"grep nameserver {told.path}", listing(list(servers)), source=node),
                Evidence(
                    "grep resolvConf /var/lib/kubelet/config.yaml",
                    f"{told.path} ({source})",
                    source=node,
                ),
                Evidence(f"grep nameserver {_SYSTEMD}", listing(real), source=node) if real else None,
            ),
            next=(
                (
                    f"ssh {node} \"sudo sed -i 's|^resolvConf:.*|resolvConf: {_SYSTEMD}|' {told.said_in}\""
                    if told.said_in.endswith("config.yaml")
                    else f"ssh {node} \"echo 'resolvConf: {_SYSTEMD}' | sudo tee -a /var/lib/kubelet/config.yaml\""
                )
                if real
                else f"ssh -t {node} sudoedit {told.path}    # name a resolver that other machines can ask",
                f"ssh {node} sudo systemctl restart kubelet",
                "kubectl -n kube-system rollout restart deployment coredns",
            ),
            severity=Severity.ERROR if any(not p.ready for p in here) else Severity.WARNING,
        )


def _forwards(dns: ClusterDNS, configs: ConfigMaps) -> bool:
    """Whether CoreDNS takes its upstream from the node at all, as far as its Corefile was seen."""
    for workload in dns.workloads:
        name, key = corefile_map(workload)
        config = configs.get(name, workload.namespace) if name else None
        if config and config.data.get(key) and "/etc/resolv.conf" not in config.data[key]:
            return False
    return True
