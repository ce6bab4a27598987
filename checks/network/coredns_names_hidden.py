"""Something in the Corefile answers for the cluster's names before the plugin that knows them is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Skip, check, kubectl
from kdiag.facts import ClusterDNS, ConfigMaps, Directive, Nodes, ServerBlock, corefile_map, domain_of, parse_corefile

_USUAL = "cluster.local"
_SHUT = {"block": "refuses", "filter": "answers nothing to", "drop": "leaves unanswered"}


@dataclass(frozen=True, slots=True)
class _Hider:
    line: int
    what: str
    step: str


@check(
    title="Corefile hides the names of Services",
    severity=Severity.CRITICAL,
    layer=Layer.DNS,
    explains=("application/dependency_name_unresolved",),
    tags=("dns", "coredns", "config"),
    namespaces=("kube-system", "openshift-dns"),
)
def coredns_names_hidden(dns: ClusterDNS, configs: ConfigMaps, nodes: Nodes | None) -> Iterator[Finding | Skip]:
    """CoreDNS asks its plugins in an order of its own: acl, template and hosts come before kubernetes."""
    if not dns.known or not dns.workloads:
        yield Skip(dns.unknown)
        return
    pods = [n.spec.pod_cidr for n in nodes.items if n.spec.pod_cidr] if nodes else []
    for workload in dns.workloads:
        name, key = corefile_map(workload)
        config = configs.get(name, workload.namespace) if name else None
        blocks = parse_corefile(config.data.get(key, "")).blocks if config else ()
        for hider in _hiders(blocks, pods):
            yield Finding(
                Ref("ConfigMap", name, workload.namespace),
                f"no name of a Service is found: ConfigMap {workload.namespace}/{name}, "
                f"line {hider.line} of the {key}: {hider.what}",
                evidence=(
                    Evidence(
                        kubectl("get", "configmap", name, "-o", "yaml", namespace=workload.namespace),
                        _line(config.data.get(key, "") if config else "", hider.line),
                    ),
                ),
                next=(
                    kubectl("edit", "configmap", name, namespace=workload.namespace)
                    + f"    # line {hider.line}: {hider.step}",
                    kubectl(
                        *("rollout", "restart", f"{workload.ref().kind.lower()}/{workload.name}"),
                        namespace=workload.namespace,
                    ),
                ),
                touches=(workload.ref(), dns.reference),
                key=hider.what,
            )


def _hiders(blocks: tuple[ServerBlock, ...], pods: list[str]) -> Iterator[_Hider]:
    home = next((b for b in blocks if b.all("kubernetes")), None)
    if home is None:
        return
    zones = [domain_of(z) for d in home.all("kubernetes") for z in d.args if not z.endswith(".arpa")]
    domain = next((z for z in zones if z not in ("", "{")), _USUAL)
    taken = _inside(domain) - {domain_of(z) for z in home.zones}
    for block in blocks:
        if not block.all("kubernetes") and {domain_of(z) for z in block.zones} & taken:
            what = f"the block {' '.join(block.zones)} takes {domain} from kubernetes"
            yield _Hider(_head(block), what, "remove the block")
    for directive in home.directives:
        own = tuple(a for a in directive.args if not a.startswith("/"))
        if directive.name == "template" and _of_addresses(directive) and _takes(directive, own[2:], domain):
            rcode = directive.option("rcode")
            said = f" with {rcode[0]}" if rcode else ""
            what = f"template {' '.join(own)} answers{said} in place of kubernetes"
            yield _Hider(directive.line, what, "remove it, or add fallthrough")
        elif directive.name == "hosts" and _takes(directive, own, domain):
            what = "hosts has no fallthrough: what it does not have is refused, and kubernetes is not asked"
            yield _Hider(directive.line, what, "add fallthrough inside of its braces")
        elif directive.name == "acl" and (shut := _shut(directive, domain, pods)):
            yield _Hider(directive.line, f"acl {shut} the pods", "remove the rule, or allow the pods before it")


def _of_addresses(template: Directive) -> bool:
    """Whether it answers when addresses are asked for. One for AAAA alone is a usual way to do without IPv6."""
    return (
        len(template.args) > 1
        and template.args[0].upper() in ("ANY", "IN")
        and template.args[1].upper() in ("ANY", "A")
    )


def _takes(directive: Directive, zones: tuple[str, ...], domain: str) -> bool:
    """Whether it is asked for the cluster's names, and does not hand on those that it does not know."""
    if zones and not any(_covers(domain_of(z), domain) or domain_of(z) in _inside(domain) for z in zones):
        return False
    through = directive.option("fallthrough")
    return through is None or (bool(through) and not any(_covers(domain_of(z), domain) for z in through))


def _shut(acl: Directive, domain: str, pods: list[str]) -> str:
    """What the first rule that fits all pods does to them; empty where it lets them, or none does."""
    if acl.args and not any(_covers(domain_of(z), domain) for z in acl.args):
        return ""
    for action, *rest in acl.body:
        words = dict(zip(rest[::2], rest[1::2], strict=False)) if len(rest) % 2 == 0 else {}
        if rest and not words:
            return ""  # more than one network or type: not told
        if words.get("type", "*") not in ("*", "ANY", "A"):
            continue
        all_pods = "net" not in words or _holds(words["net"], pods)
        if all_pods and action in _SHUT:
            return _SHUT[action]
        if action == "allow":
            return ""
    return ""


def _holds(net: str, pods: list[str]) -> bool:
    try:
        outer = ip_network("0.0.0.0/0" if net == "*" else net, strict=False)
        inner = [IPv4Network(p, strict=False) for p in pods]
    except ValueError:
        return False
    return isinstance(outer, IPv4Network) and bool(inner) and all(one.subnet_of(outer) for one in inner)


def _inside(domain: str) -> set[str]:
    return {domain, f"svc.{domain}"}


def _covers(zone: str, domain: str) -> bool:
    return not zone or zone == domain or domain.endswith(f".{zone}")


def _head(block: ServerBlock) -> int:
    """The line on which a block begins: that before its first plugin."""
    return min((d.line for d in block.directives), default=block.line) - 1


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number - 1].strip() if 0 < number <= len(lines) else "the block"
