"""NetworkPolicies keep a workload from the Service that it is told to talk to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, listing
from kdiag.facts import (
    Backends,
    Complaint,
    Complaints,
    DaemonSets,
    Dependencies,
    Enforced,
    Namespaces,
    NetworkPolicies,
    NetworkPolicy,
    Nodes,
    Owners,
    Pod,
    Service,
    ServicePort,
    Topic,
    enforcement,
    find_port,
    incoming,
    outgoing,
    shown_peers,
    shown_ports,
)

# Policies drop: the client waits. A refusal came from something that was reached.
_WAITED = re.compile(r"time[d ]?-? ?out|timeout|unreachable|no route|prohibited|ETIMEDOUT", re.IGNORECASE)


@check(
    title="NetworkPolicy keeps a workload from its Service",
    severity=Severity.ERROR,
    layer=Layer.CNI,
    explains=(
        "application/dependency_unreachable",
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("networkpolicy", "service"),
)
def network_policy_blocks_traffic(
    policies: NetworkPolicies,
    backends: Backends,
    dependencies: Dependencies,
    namespaces: Namespaces,
    owners: Owners,
    complaints: Complaints | None,
    daemonsets: DaemonSets | None,
    nodes: Nodes | None,
) -> Iterator[Finding]:
    """Policies add up: blocked is what no policy on the pods' side, or none on the client's, lets through."""
    enforced, plugin = enforcement(daemonsets, nodes)
    if enforced is Enforced.NO or not policies.items:
        return
    found: dict[tuple[Ref, Ref, str], _Block] = {}
    for service in backends.services.items:
        clients = dependencies.clients.get(service.ref(), ())
        pods = [p for p in backends.of(service) if p.ready and not p.terminating] if clients else []
        targets = list({(id(p.labels), id(p.spec)): p for p in pods}.values())
        for client in clients if targets else ():
            if client.finished or client.terminating:
                continue
            block = _blocked(service, client, targets, policies, namespaces, dependencies)
            if block is None:
                continue
            complaint = _complaint(client, service, owners, dependencies, complaints)
            if complaint is None and enforced is not Enforced.YES:
                continue
            block.complaint = complaint
            found.setdefault((block.policies[0].ref(), service.ref(), str(owners.top(client))), block)
    for (_, target, workload), block in found.items():
        yield _finding(block, target, workload, owners, plugin, sure=enforced is Enforced.YES)


@dataclass(slots=True)
class _Block:
    """Who cannot reach whom, on which port of the pods, and the policies of the side that says no."""

    client: Pod
    target: Pod
    port: int
    protocol: str
    service_port: int
    side: str
    policies: tuple[NetworkPolicy, ...]
    complaint: Complaint | None = None


def _blocked(
    service: Service,
    client: Pod,
    targets: Sequence[Pod],
    policies: NetworkPolicies,
    namespaces: Namespaces,
    dependencies: Dependencies,
) -> _Block | None:
    """The block, when no port that the client may mean reaches any ready pod."""
    first: _Block | None = None
    for port in _ports(service, client, dependencies):
        for target in targets:
            number = find_port(target.spec, port.target, port.protocol)
            if number is None:
                continue
            into = incoming(policies, namespaces, client, target, number, port.protocol)
            out = outgoing(policies, namespaces, client, target, number, port.protocol)
            if into.allowed and out.allowed:
                return None
            side, verdict = ("Ingress", into) if not into.allowed else ("Egress", out)
            first = first or _Block(client, target, number, port.protocol, port.port, side, verdict.policies)
    return first


def _ports(service: Service, client: Pod, dependencies: Dependencies) -> Sequence[ServicePort]:
    named = set()
    for dependency in dependencies.of(client):
        target = dependencies.resolve(dependency.host, client.namespace)
        if dependency.port and target and (target.name, target.namespace) == (service.name, service.namespace):
            named.add(dependency.port)
    return [p for p in service.spec.ports if p.port in named] or service.spec.ports


def _complaint(
    client: Pod, service: Service, owners: Owners, dependencies: Dependencies, complaints: Complaints | None
) -> Complaint | None:
    for complaint in complaints.by_workload.get(owners.top(client), ()) if complaints else ():
        target = dependencies.asked(complaint.said.host, client.namespace)
        if (
            complaint.said.topic is Topic.UNREACHABLE
            and _WAITED.search(complaint.said.text)
            and target is not None
            and (target.name, target.namespace) == (service.name, service.namespace)
        ):
            return complaint
    return None


def _finding(block: _Block, target: Ref, workload: str, owners: Owners, plugin: str, *, sure: bool) -> Finding:
    names = [p.ref().path for p in block.policies]
    verb = "keeps" if len(names) == 1 else "keep"
    inward = block.side == "Ingress"
    why = _why(block) + ("" if plugin else ", if the network plugin enforces policies")
    evidence = [
        Evidence(
            kubectl("describe", "networkpolicy", p.name, namespace=p.namespace),
            f"selects {p.spec.pod_selector or 'all pods'}; {block.side.lower()}: {_rules(p, inward=inward)}",
        )
        for p in block.policies[:3]
    ]
    asked = block.client if inward else block.target
    labels = ",".join(f"{k}={v}" for k, v in sorted(asked.labels.items()) if "hash" not in k)
    evidence.append(
        Evidence(
            kubectl("get", "pod", asked.name, "--show-labels", namespace=asked.namespace),
            f"{labels or '<none>'}, in namespace {asked.namespace}",
        )
    )
    if block.complaint:
        command = kubectl(*block.complaint.command, namespace=block.complaint.pod.namespace)
        evidence.append(Evidence(command, block.complaint.said.text[:200]))
    elif plugin:
        evidence.append(Evidence("", f"{plugin} enforces policies here"))
    policy = block.policies[0]
    return Finding(
        policy.ref(),
        f"NetworkPolicy {listing(names, 2)} {verb} {workload} from {target.path}"
        f" port {block.port}/{block.protocol}{why}",
        evidence=tuple(evidence),
        next=(
            kubectl("edit", "networkpolicy", policy.name, namespace=policy.namespace),
            f"allow {block.side.lower()} {'from' if inward else 'to'} pods with {labels or 'these labels'} on port"
            f" {block.port}, the pods' port and not the Service's",
        ),
        touches=(target, owners.top(block.client), block.client.ref()),
        key=f"{workload} {target.path}",
        severity=Severity.ERROR if sure and (block.complaint or not block.client.ready) else Severity.WARNING,
    )


def _why(block: _Block) -> str:
    """What looks like the slip, where one rule is close."""
    inward = block.side == "Ingress"
    rules = [r for p in block.policies for r in (p.spec.ingress if inward else p.spec.egress)]
    if not rules:
        return ": nothing is let " + ("in" if inward else "out")
    numbers = {q.port for r in rules for q in r.ports}
    if block.service_port != block.port and block.service_port in numbers and block.port not in numbers:
        return f": {block.service_port} is the Service's port"
    if all(r.ports for r in rules) and not numbers & {block.port, None}:
        return f": only {listing([shown_ports(r.ports) for r in rules], 2)}"
    peers = [shown_peers(r.from_ if inward else r.to) for r in rules]  # type: ignore[union-attr]
    return f": only {'from' if inward else 'to'} {listing(peers, 2)}"


def _rules(policy: NetworkPolicy, *, inward: bool) -> str:
    if inward:
        rules = [f"{shown_ports(r.ports)} from {shown_peers(r.from_)}" for r in policy.spec.ingress]
    else:
        rules = [f"{shown_ports(r.ports)} to {shown_peers(r.to)}" for r in policy.spec.egress]
    return "; ".join(rules[:3]) or "none"
