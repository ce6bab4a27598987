"""A namespace that was deleted does not go away, because something in it, or an API, holds it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Ref, Severity, check, controller, kubectl, shorten
from kdiag.facts import Claims, Cluster, Namespace, Namespaces, Pod, Pods, SystemLeases, controllers_begin

_LATE = 120.0
#: What a workload may ordinarily ask for to end in, in seconds: so long, its namespace is not stuck but waits.
_GRACE = 600
_MOST = 100
_ORDER = (
    "NamespaceDeletionDiscoveryFailure",
    "NamespaceDeletionGroupVersionParsingFailure",
    "NamespaceDeletionContentFailure",
    "NamespaceFinalizersRemaining",
    "NamespaceContentRemaining",
)

_CONVERSION = re.compile(
    r"conversion webhook for (?P<api>[a-z0-9./-]{1,300}), Kind=(?P<kind>\w{1,63}) failed: "
    r"(?:Post \"https://(?:(?P<service>[a-z0-9-]{1,63})\.(?P<namespace>[a-z0-9-]{1,63})\.svc)?[^\"]*\": )?(?P<why>.*)"
)


@check(
    title="Namespace is stuck in Terminating",
    severity=Severity.WARNING,
    layer=Layer.POD,
    tags=("namespace", "terminating", "finalizers"),
    holds_deletion=True,
)
def namespace_stuck_terminating(
    namespaces: Namespaces,
    cluster: Cluster,
    pods: Pods | None,
    claims: Claims | None,
    leases: SystemLeases | None,
) -> Iterator[Finding | Gap]:
    """Its conditions say what holds it: an API that does not answer, finalizers, or contents."""
    for namespace in namespaces.items:
        deleted = namespace.metadata.deletion_timestamp
        if deleted is None or cluster.age(deleted) < _LATE or cluster.namespace not in ("", namespace.name):
            continue
        if controllers_begin(pods, leases, cluster.taken):
            yield Gap("kube-controller-manager", "it began to work a moment ago: namespaces may wait for it")
            return
        held = {c.type: c.message for c in namespace.status.conditions if c.status == "True"}
        kind = next((k for k in _ORDER if k in held), "")
        name = namespace.name
        slow = _slow(pods, name, cluster)
        if kind in ("", "NamespaceContentRemaining"):
            if pods is None:
                yield Gap("pods", f"not seen: whether those of {name} are within their grace period is not known")
                continue
            if slow and slow.grace <= _GRACE:
                continue
        touches = tuple(p.ref() for p in (pods.troubled if pods else ()) if p.namespace == name and p.deleted)
        touches += tuple(c.ref() for c in (claims.within(name) if claims else ()) if c.metadata.deletion_timestamp)
        if kind == "NamespaceDeletionDiscoveryFailure":
            apis = sorted(set(re.findall(r"([a-z0-9.-]+/v\w+): ", held[kind])))
            why = f"the API server cannot list its contents: {', '.join(apis[:3]) or 'an API'} does not answer"
            touches += tuple(Ref("APIService", "{1}.{0}".format(*api.split("/"))) for api in apis)
            step = kubectl("get", "apiservices") + " | grep False"
        elif kind == "NamespaceFinalizersRemaining":
            found = held[kind].rpartition("remaining: ")[2]
            why = f"finalizers hold its contents: {shorten(found, 100)}"
            step = _list(namespace, held.get("NamespaceContentRemaining", ""))
        elif call := _CONVERSION.search(held.get(kind, "")):
            group, _, version = call["api"].rpartition("/")
            why = f"the conversion webhook of {call['kind']} in {group}/{version} fails: {shorten(call['why'], 120)}"
            touches += (Ref("Service", call["service"], call["namespace"]),) if call["service"] else ()
            step = f"kubectl get crds -o name | grep {group}    # spec.conversion.webhook: its Service, its caBundle"
        elif kind:
            why = shorten(held[kind], 140)
            step = _list(namespace, held.get("NamespaceContentRemaining", ""))
        elif slow and slow.deleted and cluster.age(slow.deleted) < 0:
            why = f"Pod {slow.path} has {slow.grace} s to end, until {slow.deleted:%H:%M:%S} UTC"
            step = kubectl("describe", "pod", slow.name, namespace=name) + "   # preStop and grace period"
        elif namespace.metadata.finalizers:
            why = f"finalizer {namespace.metadata.finalizers[0]} of the namespace itself is still there"
            step = kubectl("get", "namespace", name, "-o", "yaml")
        elif namespace.status.conditions:
            why = "its contents are deleted and not gone yet"
            step = _list(namespace, "")
        else:
            why = "nothing empties it: is kube-controller-manager running?"
            step = kubectl("get", "pods", "-l", "component=kube-controller-manager", namespace="kube-system")
        yield Finding(
            namespace.ref(),
            f"Namespace {name} is stuck in Terminating: {why}",
            evidence=(
                Evidence(kubectl("get", "namespace", name), f"Terminating since {deleted:%Y-%m-%d %H:%M:%S}Z"),
                *(
                    Evidence(kubectl("describe", "namespace", name), f"{k}: {shorten(held[k], 300)}")
                    for k in (*_ORDER[:4], "NamespaceContentRemaining")
                    if k in held
                ),
            ),
            next=(step, "never empty spec.finalizers of the namespace: what is left in it stays in etcd for ever"),
            touches=(controller("namespace-controller"), *touches[:_MOST]),
            since=deleted.isoformat(),
        )


def _slow(pods: Pods | None, namespace: str, cluster: Cluster) -> Pod | None:
    """The pod that has longest to end, where that is not over yet, or only just."""
    ends = {p.deleted: p for p in (pods.troubled if pods else ()) if p.namespace == namespace and p.deleted}
    latest = max((end for end in ends if cluster.age(end) < _LATE), default=None)
    return ends[latest] if latest else None


def _list(namespace: Namespace, remaining: str) -> str:
    kinds = re.findall(r"([a-z0-9.]+) has \d+ resource instances", remaining)
    names = [k.rstrip(".") for k in kinds]
    if names:
        return kubectl("get", ",".join(names), "-o", "name", namespace=namespace.name)
    return (
        "kubectl api-resources --verbs=list --namespaced -o name | xargs -n1 "
        f"kubectl get -n {namespace.name} --ignore-not-found --show-kind --no-headers"
    )
