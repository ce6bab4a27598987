"""The API server answers and says that parts of it are not ready."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Severity, check, kubectl, listing
from kdiag.facts import Health, Pods, component

_SINCE_START = ("poststarthook/", "informer-sync", "shutdown")


@check(
    title="API server is not ready",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=("control_plane/leader_election_lost",),
    tags=("apiserver", "etcd"),
)
def api_server_unhealthy(health: Health, pods: Pods | None) -> Iterator[Finding]:
    """Critical where etcd is out of reach; a start-up hook that has not ended may be a start under way."""
    failing = [c for c in health.checks if not c.ok]
    if not failing:
        return
    names = [c.name for c in failing]
    starting = all(name.startswith(_SINCE_START) for name in names)
    static = pods.within("kube-system") if pods else ()
    etcd = any(name.startswith("etcd") for name in names)
    if etcd:
        why = "it does not reach etcd"
    elif "shutdown" in names:
        why = "it is shutting down"
    elif starting:
        why = "its start has not ended"
    else:
        why = "not all of it works"
    yield Finding(
        CLUSTER,
        f"the API server is not ready: {why} ({listing(names, 4)})",
        evidence=tuple(
            Evidence(kubectl("get", "--raw=/readyz?verbose"), f"[-]{c.name} {c.text}".rstrip()) for c in failing[:6]
        ),
        next=(
            kubectl("logs", "-l", "component=etcd", "--tail=40", namespace="kube-system"),
            kubectl("logs", "-l", "component=kube-apiserver", "--tail=40", namespace="kube-system"),
        ),
        touches=tuple(p.ref() for p in static if component(p) in ("etcd", "kube-apiserver")),
        severity=Severity.ERROR if starting else Severity.CRITICAL,
    )
