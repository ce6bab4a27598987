"""Something in the Corefile answers for the cluster's names before the plugin that knows them is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Ref, Severity, Skip, check, kubectl, listing
from kdiag.facts import (
    DIRECTIVES,
    ClusterDNS,
    ConfigMaps,
    Directive,
    Nodes,
    ServerBlock,
    Services,
    corefile_map,
    domain_of,
    parse_corefile,
)

_USUAL = "cluster.local"
_SHUT = {"block": "refuses", "filter": "answers nothing to", "drop": "leaves unanswered"}


#: What may know the cluster's names in the place of the plugin kubernetes.
_OTHERS = ("import", "kubernetai", "k8s_gateway", "etcd", "file", "auto", "secondary", "template", "grpc")


_LOST = "Service {} is not found by its name"


@dataclass(frozen=True, slots=True)
class _Hider:
    line: int
    what: str
    step: str
    effect: str = "no name of a Service is found"
    #: The one Service that is hidden; without it, all are.
    alone: Ref | None = None


@check(
    title="Corefile hides the names of Services",
    severity=Severity.CRITICAL,
    layer=Layer.DNS,
    explains=("application/dependency_name_unresolved", "application/dependency_unreachable"),
    tags=("dns", "coredns", "config"),
    namespaces=("kube-system", "openshift-dns"),
)
def coredns_names_hidden(
    dns: ClusterDNS, configs: ConfigMaps, nodes: Nodes | None, services: Services | None
) -> Iterator[Finding | Skip]:
    """CoreDNS asks its plugins in an order of its own: acl, rewrite, template and hosts come before kubernetes."""
    if not dns.known or not dns.workloads:
        yield Skip(dns.unknown)
        return
    pods = [n.spec.pod_cidr for n in nodes.items if n.spec.pod_cidr] if nodes else []
    for workload in dns.workloads:
        name, key = corefile_map(workload)
        config = configs.get(name, workload.namespace) if name else None
        read = parse_corefile(config.data.get(key, "") if config else "")
        for hider in _hiders(read.blocks, pods, services) if not read.error else ():
            yield Finding(
                Ref("ConfigMap", name, workload.namespace),
                f"{hider.effect}: ConfigMap {workload.namespace}/{name}, line {hider.line} of the {key}: {hider.what}",
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
                touches=(workload.ref(), dns.reference, hider.alone or CLUSTER),
                key=hider.what,
                severity=Severity.ERROR if hider.alone else None,
            )


def _hiders(blocks: tuple[ServerBlock, ...], pods: list[str], services: Services | None) -> Iterator[_Hider]:
    home = next((b for b in blocks if b.all("kubernetes")), None)
    if home is None:
        names = {d.name for b in blocks for d in b.directives}
        elsewhere = names & set(_OTHERS) or not names <= DIRECTIVES  # a misspelt one is another fault
        handed_on = any(b.all("forward") and {domain_of(z) for z in b.zones} & _inside(_USUAL) for b in blocks)
        if blocks and not elsewhere and not handed_on:
            step = f"add kubernetes {_USUAL} in-addr.arpa ip6.arpa"
            yield _Hider(_head(blocks[0]), "the server block has no plugin kubernetes", step)
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
        elif (
            directive.name == "bind"
            and own
            and all(a in ("lo", "localhost", "::1") or a.startswith("127.") for a in own)
        ):
            what = f"bind {' '.join(own)}: it listens where no pod comes to"
            yield _Hider(directive.line, what, "remove it")
        elif directive.name == "kubernetes" and sum(len(b.all("kubernetes")) for b in blocks) == 1:
            yield from _left_out(directive, services)
        elif directive.name == "hosts":
            yield from _at_another_address(directive, domain, services)
        elif directive.name == "rewrite":
            yield from _renamed(directive, domain, services)
        elif directive.name == "acl" and (shut := _shut(directive, domain, pods)):
            yield _Hider(directive.line, f"acl {shut} the pods", "remove the rule, or allow the pods before it")


def _left_out(kubernetes: Directive, services: Services | None) -> Iterator[_Hider]:
    """The option ``namespaces``: Services of all others have no name."""
    told = kubernetes.option("namespaces")
    if not told or services is None or services.scope:
        return
    out = sorted({s.namespace for s in services.items} - set(told))
    if out:
        line = f"namespaces {' '.join(told)}: kubernetes knows no other"
        yield _Hider(kubernetes.line, line, "remove the option", f"no Service of namespace {listing(out, 3)} is found")


def _service(name: str, domain: str) -> tuple[str, str] | None:
    """Namespace and name of the Service that a full name of the cluster's means."""
    match name.rstrip(".").lower().removesuffix(domain).split("."):
        case [service, namespace, "svc", ""]:
            return namespace, service
        case _:
            return None


def _at_another_address(hosts: Directive, domain: str, services: Services | None) -> Iterator[_Hider]:
    """A line of ``hosts`` that has a Service of the cluster at an address that is not the Service's."""
    for address, *names in hosts.body:
        for name in names:
            meant = _service(name, domain)
            found = services.get(meant[1], meant[0]) if services and meant else None
            if found and not found.headless and not found.external and found.spec.cluster_ip not in ("", address):
                what = f"hosts has {name} at {address}; the Service has {found.spec.cluster_ip}"
                yield _Hider(hosts.line, what, "remove the line", _LOST.format(found.ref().path), found.ref())


def _renamed(rewrite: Directive, domain: str, services: Services | None) -> Iterator[_Hider]:
    """A ``rewrite name`` that makes a name of the cluster's one that nothing in it has."""
    words = [w for w in rewrite.args if w not in ("stop", "continue")]
    if not words or words[0] != "name":
        return
    how, *rest = words[1:] if len(words) > 3 and words[1] in ("exact", "prefix", "suffix") else ["exact", *words[1:]]
    if len(rest) < 2:
        return
    before, after = (w.strip(".").lower() for w in rest[:2])
    line = f"rewrite name makes {rest[0]} {rest[1]}"
    meant = _service(before, domain) if how == "exact" else None
    if services and meant and services.get(meant[1], meant[0]) and services.covers(meant[0]):
        wanted = _service(after, domain)
        if wanted and services.covers(wanted[0]) and services.get(wanted[1], wanted[0]) is None:
            lost = _LOST.format("/".join(meant))
            what = f"{line}, and there is no such Service"
            yield _Hider(rewrite.line, what, "remove the line", lost, Ref("Service", meant[1], meant[0]))
    elif how == "suffix" and before in _inside(domain) and after not in _inside(domain):
        yield _Hider(rewrite.line, f"{line}, for which kubernetes does not answer", "remove the line")


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
