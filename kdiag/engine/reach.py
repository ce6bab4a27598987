"""What stands between a client and the pods besides the Service: cluster DNS and network policies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from kdiag.check import kubectl
from kdiag.engine.intake import Facts
from kdiag.facts import (
    Backends,
    EndpointSlices,
    Namespaces,
    NetworkPolicies,
    NetworkPolicy,
    Peer,
    Pod,
    PolicyPort,
    Services,
)
from kdiag.model.step import State, Step
from kdiag.model.text import listing

_DNS = ("kube-dns", "kube-system")


class Ways:
    """What is between any client and any Service; looked at once."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def dns(self, client: Pod) -> str:
        """Why this pod cannot look up the name of a Service; empty when nothing says so."""
        return self._dns if client.spec.dns_policy in ("ClusterFirst", "ClusterFirstWithHostNet") else ""

    @cached_property
    def _dns(self) -> str:
        services, slices = self._facts.get(Services), self._facts.get(EndpointSlices)
        service = services.get(*_DNS) if services else None
        if service is None or slices is None or slices.gaps:
            return ""
        if any(e.ready or e.conditions.serving for e in slices.endpoints(service)):
            return ""
        return "no name can be looked up: Service kube-system/kube-dns (cluster DNS) has no ready endpoint"

    def closed(self, client: Pod | None, pods: Sequence[Pod], number: int, protocol: str, level: int) -> Iterator[Step]:
        """A hop where network policies may stand in the way, or where it is not known who comes."""
        policies = self._facts.get(NetworkPolicies)
        if policies is None or not pods:
            return
        pod = pods[0]
        inbound = [p for p in policies.within(pod.namespace) if _governs(p, pod, "Ingress")]
        if client is None:
            if inbound:
                yield _step(
                    inbound, "decide who may connect: whether the user's way is open is not judged", level, blocks=False
                )
            return
        if client.spec.host_network or pod.spec.host_network:
            return  # what a policy means for the host's own network is up to the plugin
        outbound = [p for p in policies.within(client.namespace) if _governs(p, client, "Egress")]
        if (
            inbound
            and self._let(
                [(r.from_, r.ports) for p in inbound for r in p.spec.ingress],
                pod.namespace,
                client,
                pod,
                number,
                protocol,
            )
            is False
        ):
            yield _step(inbound, f"let nobody in as Pod {client.path} on port {number}{_IF}", level)
        if (
            outbound
            and self._let(
                [(r.to, r.ports) for p in outbound for r in p.spec.egress], client.namespace, pod, pod, number, protocol
            )
            is False
        ):
            yield _step(outbound, f"do not let Pod {client.path} out to port {number}{_IF}", level)
        elif outbound and self._no_dns(outbound, client):
            yield _step(outbound, f"do not let Pod {client.path} ask cluster DNS (port 53){_IF}", level)

    def _no_dns(self, outbound: Sequence[NetworkPolicy], client: Pod) -> bool:
        backends = self._facts.get(Backends)
        service = backends.services.get(*_DNS) if backends else None
        servers = [p for p in backends.of(service) if p.ready] if backends and service else []
        if not servers or client.spec.dns_policy not in ("ClusterFirst", "ClusterFirstWithHostNet"):
            return False
        rules = [(r.to, r.ports) for p in outbound for r in p.spec.egress]
        return all(
            self._let(rules, client.namespace, servers[0], servers[0], 53, protocol) is False
            for protocol in ("UDP", "TCP")
        )

    def _let(
        self,
        rules: Sequence[tuple[Sequence[Peer], Sequence[PolicyPort]]],
        home: str,
        other: Pod,
        server: Pod,
        number: int,
        protocol: str,
    ) -> bool | None:
        """Whether a rule lets this through; None when that cannot be told."""
        unsure = False
        for peers, ports in rules:
            if ports and not any(_port(p, server, number, protocol) for p in ports):
                continue
            if not peers:
                return True
            for peer in peers:
                match self._is(peer, home, other):
                    case True:
                        return True
                    case None:
                        unsure = True
        return None if unsure else False

    def _is(self, peer: Peer, home: str, pod: Pod) -> bool | None:
        if peer.ip_block is not None:
            return None
        if peer.namespace_selector is None:
            if pod.namespace != home:
                return False
        else:
            namespaces = self._facts.get(Namespaces)
            namespace = namespaces.get(pod.namespace) if namespaces else None
            if not peer.namespace_selector.empty and namespace is None:
                return None
            if namespace is not None and not peer.namespace_selector.matches(namespace.labels):
                return False
        return peer.pod_selector is None or peer.pod_selector.matches(pod.labels)


_IF = ", where the network plugin enforces policies"


def _governs(policy: NetworkPolicy, pod: Pod, direction: str) -> bool:
    return direction in policy.types and policy.spec.pod_selector.matches(pod.labels)


def _port(rule: PolicyPort, server: Pod, number: int, protocol: str) -> bool:
    if rule.protocol != protocol:
        return False
    if rule.port is None:
        return True
    if isinstance(rule.port, str):
        return any(p.name == rule.port and p.container_port == number for c in server.spec.containers for p in c.ports)
    return rule.port == number or (rule.end_port is not None and rule.port <= number <= rule.end_port)


def _step(policies: Sequence[NetworkPolicy], detail: str, level: int, *, blocks: bool = True) -> Step:
    first = policies[0]
    names = listing(sorted(p.name for p in policies))
    return Step(
        state=State.UNKNOWN,
        title=f"NetworkPolicy {names}",
        detail=detail,
        command=kubectl("describe", "networkpolicies", namespace=first.namespace),
        ref=first.ref(),
        level=level,
        blocks=blocks,
    )
