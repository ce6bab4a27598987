"""A rule of a node's own takes the connections to a Service before kube-proxy's rules see them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address

from kdiag.check import TRAFFIC_LOST, Evidence, Finding, Layer, Ref, Severity, check, listing, ssh
from kdiag.facts import (
    ASKED_BY_ALL,
    EndpointSlices,
    Packet,
    Service,
    ServicePort,
    ServiceRules,
    Services,
    ServiceTables,
)

#: What pods send passes the first, what the node itself sends the second.
_CHAINS = frozenset({"PREROUTING", "OUTPUT"})
_TO = re.compile(r"--to-destination ([\d.]+)(?::(\d+))?")


@check(
    title="Rule of a node diverts a Service",
    severity=Severity.ERROR,
    layer=Layer.PROXY,
    explains=(*TRAFFIC_LOST, "network/kube_proxy_cannot_reach_api", "network/pod_sandbox_fails"),
    tags=("service", "iptables", "kube-proxy", "firewall"),
)
def service_diverted(tables: ServiceTables, services: Services, slices: EndpointSlices) -> Iterator[Finding]:
    """The first rule that fits decides. One that leads to an endpoint of the Service does what kube-proxy would."""
    plain = [s for s in services.items if _plain(s)]
    for node, rules in tables:
        if not rules.first or rules.legacy:
            continue
        found: dict[str, tuple[list[str], Service, ServicePort]] = {}
        for service in plain:
            for port in service.spec.ports:
                for chain in sorted(rules.hooks & _CHAINS):
                    if text := _diverts(rules, chain, service, port, slices):
                        found.setdefault(text, ([], service, port))[0].append(service.ref().path)
        # PREROUTING and OUTPUT mostly hold the same rule.
        for one in {re.sub(r"^-A \w+ ", "", text): text for text in sorted(found)}.values():
            yield _finding(node, one, *found[one])


def _plain(service: Service) -> bool:
    try:
        return not service.external and bool(IPv4Address(service.spec.cluster_ip))
    except ValueError:
        return False


def _diverts(rules: ServiceRules, chain: str, service: Service, port: ServicePort, slices: EndpointSlices) -> str:
    """The text of the rule that leads its connections to where no endpoint of it is; empty for none."""
    packet = Packet(protocol=port.protocol.lower(), destination=service.spec.cluster_ip, port=port.port)
    rule = rules.diverted(chain, packet)
    if rule is None:
        return ""
    to = _TO.search(rule.text)
    if to is None:
        return rule.text if rule.target != "DNAT" else ""
    ends = {a for item in slices.of_service(service) for e in item.endpoints or () for a in e.addresses}
    return "" if to[1] in ends else rule.text


def _finding(node: str, text: str, names: list[str], service: Service, port: ServicePort) -> Finding:
    to = _TO.search(text)
    goes = f"go to {to[1]}{f':{to[2]}' if to[2] else ''}, which is none of its endpoints" if to else "do not reach it"
    unique = list(dict.fromkeys(names))
    address = f" ({service.spec.cluster_ip}:{port.port})" if len(unique) == 1 else ""
    chain = text.split()[1]
    rule = re.sub(r"^-A \w+ ", "", text)
    lone = len(unique) == 1 and unique[0] not in ASKED_BY_ALL
    return Finding(
        service.ref() if lone else Ref("Node", node),
        f"connections from {node} to Service {listing(unique, 3)}{address} {goes}: a rule in {chain} comes before "
        "kube-proxy's",
        evidence=(Evidence("iptables-save -t nat", text, source=node),),
        next=(
            f"ssh {node} sudo iptables -t nat -S {chain}    # who put it there: firewalld, a script, a person?",
            ssh(node, f"sudo iptables -t nat {text.replace('-A ', '-D ', 1)}")
            + f"    # undo: the same with -I {chain}",
        ),
        touches=tuple(Ref("Service", n.partition("/")[2], n.partition("/")[0]) for n in unique)[:50],
        key=f"{node} {rule}" if lone else rule,
    )
