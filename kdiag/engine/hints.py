"""What is around a finding and its page's commands need: a troubled pod of its workload, a control-plane node."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.engine.intake import Facts
from kdiag.engine.topology import Topology
from kdiag.facts import Backends, Nodes, Owners, Pod, Pods, Services, Units, Workloads
from kdiag.facts.meta import labels_text
from kdiag.model.result import Finding, Ref

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
#: Kinds that a Service answers for.
_BACKED = ("APIService", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")


def hints(finding: Finding | None, facts: Facts, *, group: str = "") -> dict[str, str]:
    """Values for the variables of a page, beyond what the finding names itself. ``group`` is that of the page."""
    found: dict[str, str] = {}
    planes = _control_plane(facts)
    pod = _pod(finding, facts) if finding else None
    if pod:
        found["POD"] = pod.name
        found["NAMESPACE"] = pod.namespace
    if group == "control_plane" and planes:
        found["NODE"] = planes[0]
    elif pod and pod.node:
        found["NODE"] = pod.node
    nodes = facts.get(Nodes)
    if nodes and nodes.items:
        found["ANY_NODE"] = sorted(node.name for node in nodes.items)[0]
    found |= _around(finding, facts) if finding else {}
    if planes:
        found["NODE_CP"] = found["MASTER"] = planes[0]
        named = next((r.name for r in (finding.subject, *finding.touches) if r.kind == "Node"), "") if finding else ""
        others = [node for node in planes if node != named]
        if named and others:
            found["OTHER"] = others[0]
    return found


def _around(finding: Finding, facts: Facts) -> dict[str, str]:
    """The Service behind an API or a webhook; the address, the labels and the server of a Service that is concerned."""
    found: dict[str, str] = {}
    refs = (finding.subject, *finding.touches)
    if finding.subject.kind in _BACKED:
        backend = next((r for r in Topology(facts).direct(finding.subject) if r.kind == "Service"), None)
        if backend:
            found |= {
                "BACKEND_NAMESPACE": backend.namespace,
                "BACKEND_SERVICE": backend.name,
                "BACKEND_NAME": backend.name,
            }
    services, backends, owners = facts.get(Services), facts.get(Backends), facts.get(Owners)
    service = next(
        (s for r in refs if r.kind == "Service" and services and (s := services.get(r.name, r.namespace))), None
    )
    if service is not None:
        found["IP"] = service.spec.cluster_ip
        if service.spec.selector:
            found["SELECTOR"] = labels_text(service.spec.selector)
        servers = backends.of(service) if backends else ()
        if servers and owners and (top := owners.top(servers[0])).kind == "Deployment":
            found["SERVER"] = top.name
    return found


def _control_plane(facts: Facts) -> list[str]:
    nodes = facts.get(Nodes)
    if nodes and nodes.items:
        return sorted(
            node.name
            for node in nodes.items
            if node.labels.keys() & {"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"}
        )
    # The API server is dead: who could be read and runs etcd or an API server is not told apart by its units alone.
    units = facts.get(Units)
    return sorted(units.by_node)[:1] if units and len(units.by_node) == 1 else []


def _pod(finding: Finding, facts: Facts) -> Pod | None:
    """The pod to look at: one that the finding names, else a troubled one of what it names, else any of those."""
    pods = facts.get(Pods)
    if pods is None:
        return None
    refs = (finding.subject, *finding.touches)
    for ref in refs:
        if ref.kind == "Pod" and (pod := pods.get(ref.name, ref.namespace)):
            return pod
    for ref in refs:
        of_it = sorted(_pods_of(ref, facts), key=lambda p: (p.ready and not p.terminating, p.name))
        if of_it:
            return of_it[0]
    return None


def _pods_of(ref: Ref, facts: Facts) -> Iterator[Pod]:
    workloads, services, backends = facts.get(Workloads), facts.get(Services), facts.get(Backends)
    if ref.kind in _WORKLOADS and workloads and (workload := workloads.get(ref)):
        yield from workloads.pods_of(workload)
    if ref.kind == "Service" and services and backends and (service := services.get(ref.name, ref.namespace)):
        yield from backends.of(service)
