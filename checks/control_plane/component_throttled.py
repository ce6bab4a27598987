"""A component may do so few requests at a time, or in a second, that it holds up itself or all others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Ref, Severity, check
from kdiag.facts import Kubelets, Manifest, Manifests, manifest_repair, static_pod


@dataclass(frozen=True)
class _Limit:
    """Below ``least`` no cluster works well; ``usual`` is the default."""

    least: float
    usual: str
    effect: str


_SERVED = "it answers others with 429 Too Many Requests, or lets them wait"
_ASKS = "it asks the API server so rarely that all it does comes late"
_FLAGS: Mapping[str, _Limit] = {
    "max-requests-inflight": _Limit(20, "400", _SERVED),
    "max-mutating-requests-inflight": _Limit(10, "200", _SERVED),
    "kube-api-qps": _Limit(5, "20, of the scheduler 50", _ASKS),
    "kube-api-burst": _Limit(5, "30, of the scheduler 100", _ASKS),
}
_FIELDS: Mapping[str, str] = {"kubeAPIQPS": "50", "kubeAPIBurst": "100"}
_PARTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


@check(
    title="Component is throttled by its own limit",
    severity=Severity.WARNING,
    layer=Layer.APISERVER,
    explains=("control_plane/manifest_differs_between_nodes",),
    tags=("static-pods", "manifests", "flags", "kubelet", "limits"),
)
def component_throttled(manifests: Manifests, kubelets: Kubelets | None) -> Iterator[Finding]:
    """Zero means no limit, or the default. Nothing else says so: requests succeed in the end, or are tried again."""
    for node, found in manifests:
        for manifest in (m for part in _PARTS if (m := found.of(part))):
            yield from _flags(node, manifest)
    for node, setup in kubelets or ():
        for name, usual in _FIELDS.items():
            value = setup.config.get(name) if setup.config else None
            if setup.config is None or not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 5:
                continue
            file = setup.config.file(name)
            line = file.line(name)
            yield Finding(
                Ref("Node", node),
                f"the kubelet of {node} is slow by its own limit: {file.path}:{line} {name} is {value}, usual is "
                f"{usual}: {_ASKS}",
                evidence=(Evidence(f"sudo sed -n {line}p {file.path}", file.quoted(line), node),),
                next=(
                    f"ssh -t {node} sudoedit {file.path}    # line {line}: remove it",
                    f"ssh {node} sudo systemctl restart kubelet",
                ),
                key=name,
            )


def _flags(node: str, manifest: Manifest) -> Iterator[Finding]:
    pod = static_pod(manifest.component, node)
    for name, limit in _FLAGS.items():
        flag = manifest.flag(name)
        try:
            value = float(flag.value) if flag else 0.0
        except ValueError:
            continue
        if flag is None or not 0 < value < limit.least:
            continue
        yield Finding(
            pod,
            f"{pod.name} is throttled by its own limit: {manifest.where(flag.line)} --{name}={flag.value}, usual is "
            f"{limit.usual}: {limit.effect}",
            evidence=(manifest.quote(node, flag.line),),
            next=manifest_repair(node, manifest, flag.line, f"remove --{name}"),
            touches=(CLUSTER,) if manifest.component == "kube-apiserver" else (),
            key=name,
        )
