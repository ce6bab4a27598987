"""An autoscaler gets no figures, so it does not scale."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Gap, Layer, Ref, Severity, Shared, check, kubectl, listing, shorten
from kdiag.facts import APIServices, Autoscalers, Cluster, HorizontalPodAutoscaler, Workload, Workloads

_YOUNG = 120  # seconds: the first figures come a minute after the first pod
_API = "v1beta1.metrics.k8s.io"
_REQUEST = re.compile(r"missing request for (?P<resource>\S+) in container (?P<container>\S+) of Pod (?P<pod>\S+)")
_RIVALS = re.compile(r"controlled by multiple HPAs: \[([^\]]{1,2000})\]")
_NO_ADAPTER = re.compile(
    r"unable to get (?:external metric [^/\s]*/(?P<external>[^/\s]+)|metric (?P<custom>[^\s:]+)).*?"
    r"from (?P<kind>custom|external) metrics API: (?:no (?:custom|external) metrics API .* registered"
    r"|the server could not find the (?:requested resource|metric|descriptor).*)",
    re.DOTALL,
)
_NO_API = re.compile(
    r"unable to fetch metrics from resource metrics API|no metrics returned from resource metrics API"
    r"|could not find the requested resource \(get pods\.metrics\.k8s\.io\)"
)


@check(
    title="Autoscaler gets no figures",
    severity=Severity.WARNING,
    layer=Layer.ROLLOUT,
    tags=("autoscaling", "metrics"),
)
def autoscaler_blind(
    autoscalers: Autoscalers, cluster: Cluster, workloads: Workloads | None, apis: APIServices | None
) -> Iterator[Finding | Gap]:
    """Three faults look the same in TARGETS <unknown>: no metrics API, no requests in the pods, no pods to measure."""
    unserved: list[HorizontalPodAutoscaler] = []
    for scaler in autoscalers.items:
        active = scaler.condition("ScalingActive")
        if active is None or active.status != "False" or active.reason == "ScalingDisabled":
            continue
        if active.reason == "AmbiguousSelector":  # definite at once, and said of each of them
            rivals = _RIVALS.search(active.message)
            if rivals is None or scaler.ref().path == min(rivals[1].split()):
                yield _of_one(scaler, active.reason, active.message, None, None)
            continue
        if cluster.age(scaler.created) < _YOUNG or cluster.age(active.last_transition_time) < _YOUNG:
            continue
        target = _target(scaler, workloads)
        if target is not None and (target.desired == 0 or target.ready == 0):
            continue  # nothing to measure: that no pod is ready is the fault
        if _NO_API.search(active.message):
            unserved.append(scaler)
            continue
        if workloads is None:
            yield Gap("workloads", f"not seen, and {scaler.ref()} cannot be judged without its target")
            continue
        yield _of_one(scaler, active.reason, active.message, target, apis)
    if unserved:
        yield _of_api(unserved, apis)


def _target(scaler: HorizontalPodAutoscaler, workloads: Workloads | None) -> Workload | None:
    ref = scaler.spec.scale_target_ref
    return workloads.get(Ref(ref.kind, ref.name, scaler.namespace)) if workloads else None


def _of_one(
    scaler: HorizontalPodAutoscaler, reason: str, message: str, target: Workload | None, apis: APIServices | None
) -> Finding:
    namespace, ref = scaler.namespace, scaler.spec.scale_target_ref
    missing, rivals = _REQUEST.search(message), _RIVALS.search(message)
    steps = [kubectl("describe", "hpa", scaler.name, namespace=namespace)]
    adapter = _adapter(message, apis)
    if missing:
        resource, container = missing["resource"], missing["container"]
        said = f"container {container} of {ref.kind} {ref.name} has no {resource} request to measure against"
        if target is None or any(c.name == container for c in target.pod_spec.containers):
            amount = "100m" if resource == "cpu" else "128Mi"
            steps = [
                kubectl(
                    "set",
                    "resources",
                    f"{ref.kind.lower()}/{ref.name}",
                    "-c",
                    container,
                    f"--requests={resource}={amount}",
                    namespace=namespace,
                )
            ]
        else:
            said += ": it is not in the template, so something adds it to the pods"
    elif rivals:
        names = sorted(rivals[1].split())
        said = f"{listing(names, 4)} scale the same pods"
        spare = kubectl("delete", "hpa", names[-1].rpartition("/")[2], namespace=namespace)
        steps.append(f"{spare}   # which of them is not wanted?")
    elif adapter:
        group, metric = adapter
        said = f"it wants metric {shorten(metric, 80)}, and nothing serves {group}"
        steps = [
            f"kubectl get apiservices | grep {group}",
            "bring the adapter back that serves it (KEDA, prometheus-adapter, a cloud's), or take the metric out",
        ]
    else:
        said = shorten(message.removeprefix("the HPA was unable to compute the replica count: "), 170)
    return Finding(
        scaler.ref(),
        f"{scaler.ref()} does not scale: {said}",
        evidence=(
            Evidence(kubectl("get", "hpa", scaler.name, namespace=namespace), "TARGETS <unknown>"),
            Evidence(
                kubectl("describe", "hpa", scaler.name, namespace=namespace),
                f"ScalingActive False {reason}: {shorten(message, 300)}",
            ),
        ),
        next=tuple(steps),
        touches=(Ref(ref.kind, ref.name, namespace),),
        own=bool(missing or rivals or adapter),
        shared=Shared(Ref("APIService", adapter[0]), f"Nothing serves {adapter[0]}", "want metrics of it")
        if adapter
        else None,
    )


def _adapter(message: str, apis: APIServices | None) -> tuple[str, str] | None:
    """The API of other figures than the pods' own that nobody has registered, and the metric that is asked of it."""
    found = _NO_ADAPTER.search(message)
    if found is None or apis is None or apis.gaps:
        return None
    group = f"{found['kind']}.metrics.k8s.io"
    if any(a.name.endswith(f".{group}") for a in apis.items):
        return None
    return group, found["external"] or found["custom"]


def _of_api(unserved: list[HorizontalPodAutoscaler], apis: APIServices | None) -> Finding:
    names = sorted(s.ref().path for s in unserved)
    active = unserved[0].condition("ScalingActive")
    registered = apis.get(_API) if apis and not apis.gaps else None
    absent = apis is not None and not apis.gaps and registered is None
    state = "is not installed" if absent else "gives no figures"
    shown = "NotFound" if absent else "registered" if registered else "not read"
    if registered and registered.available:
        shown = f"Available={registered.available.status} {registered.available.reason}"
    return Finding(
        Ref("APIService", _API),
        f"{_API} (metrics-server) {state}: {'autoscaler' if len(names) == 1 else 'autoscalers'} "
        f"{listing(names, 3)} cannot scale",
        evidence=(
            Evidence(kubectl("get", "apiservice", _API), shown),
            Evidence(
                kubectl("describe", "hpa", unserved[0].name, namespace=unserved[0].namespace),
                f"ScalingActive False {active.reason}: {shorten(active.message, 250)}" if active else "no condition",
            ),
        ),
        next=(
            kubectl("get", "pods", "-l", "k8s-app=metrics-server", namespace="kube-system"),
            "install metrics-server, or whatever else serves metrics.k8s.io in this cluster"
            if absent
            else kubectl("logs", "-l", "k8s-app=metrics-server", "--tail=30", namespace="kube-system"),
        ),
        touches=tuple(s.ref() for s in unserved[:50]),
        own=absent,
    )
