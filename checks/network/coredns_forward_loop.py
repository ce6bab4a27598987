"""CoreDNS forwards to itself and stops, because its loop plugin sees its own query come back."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Severity, Skip, check, kubectl, shorten
from kdiag.facts import ClusterDNS, ConfigMaps, Logs, corefile_map, parse_corefile, unread

_DEFAULT = '{"spec":{"template":{"spec":{"dnsPolicy":"Default"}}}}'


@check(
    title="CoreDNS forwards to itself",
    severity=Severity.CRITICAL,
    layer=Layer.DNS,
    explains=(
        "network/cluster_dns_unavailable",
        "network/service_has_no_ready_endpoint",
    ),
    explains_here=(
        "application/workload_unavailable",
        "application/container_crashes",
        "application/pod_not_ready",
    ),
    tags=("dns", "coredns"),
    namespaces=("kube-system", "openshift-dns"),
)
def coredns_forward_loop(
    dns: ClusterDNS, logs: Logs | None, configs: ConfigMaps | None
) -> Iterator[Finding | Gap | Skip]:
    """The cause is the upstream address, in the Corefile or in the node's resolv.conf, and not the loop plugin."""
    if not dns.known:
        yield Skip(dns.unknown)
        return
    if gap := unread(logs, [p for p in dns.pods if not p.ready and p.phase == "Running" and not p.deleted]):
        yield gap
    for workload in dns.workloads:
        hit = next(
            (
                (pod, line.text)
                for pod in dns.of(workload)
                if not pod.ready
                for line in (logs.lines(pod.namespace, pod.name) if logs else ())
                if "plugin/loop: Loop" in line.text
            ),
            None,
        )
        if hit is None:
            continue
        pod, said = hit
        name, key = corefile_map(workload)
        config = configs.get(name, workload.namespace) if configs and name else None
        upstream = _itself(config.data.get(key, "") if config else "", dns)
        policy = "" if upstream or pod.spec.host_network else pod.spec.dns_policy
        policy = policy if policy.startswith("ClusterFirst") else ""
        source = (
            f"its Corefile forwards to {upstream}"
            if upstream
            else f"dnsPolicy {policy} gives it the cluster's DNS, itself, as resolver; it needs Default"
            if policy
            else f"the resolv.conf that {pod.node} gives it names a loopback or cluster address"
        )
        ref = workload.ref()
        evidence = [Evidence(kubectl("logs", pod.name, "--previous", namespace=pod.namespace), shorten(said, 240))]
        if policy:
            command = kubectl("get", ref.kind.lower(), ref.name, "-o", "yaml", namespace=ref.namespace)
            evidence.append(Evidence(command, f"dnsPolicy: {policy}"))
        if upstream:
            evidence.append(
                Evidence(
                    kubectl("get", "configmap", name, "-o", "yaml", namespace=ref.namespace), f"forward {upstream}"
                )
            )
        yield Finding(
            ref,
            f"CoreDNS stops because it forwards to itself ({ref.path}): {source}",
            evidence=tuple(evidence),
            next=(
                (kubectl("edit", "configmap", name, namespace=ref.namespace) + "    # forward to a real resolver",)
                if upstream
                else (kubectl("patch", ref.kind.lower(), ref.name, "-p", _DEFAULT, namespace=ref.namespace),)
                if policy
                else (
                    f"ssh {pod.node} cat /etc/resolv.conf    # 127.0.0.53 is systemd-resolved",
                    f"ssh {pod.node} sudo grep resolvConf /var/lib/kubelet/config.yaml"
                    "    # should be /run/systemd/resolve/resolv.conf; then restart the kubelet",
                )
            )
            + (() if policy else (kubectl("rollout", "restart", ref.kind.lower(), ref.name, namespace=ref.namespace),)),
            touches=(dns.reference,),
            severity=Severity.CRITICAL if dns.down else Severity.ERROR,
        )


def _itself(text: str, dns: ClusterDNS) -> str:
    """The address of CoreDNS itself that the Corefile forwards the root zone to; empty when there is none."""
    own = {dns.service.spec.cluster_ip} if dns.service else set()
    for block in parse_corefile(text).blocks:
        for directive in block.all("forward"):
            for target in directive.args[1:]:
                address = re.sub(r"^dns://", "", target)
                address = re.sub(r":53$", "", address)
                if address in own or address == "::1" or re.fullmatch(r"127\.\d+\.\d+\.\d+", address):
                    return target
    return ""
