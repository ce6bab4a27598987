"""The data directory that etcd works on is not the one that holds the cluster's data."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Severity, check
from kdiag.facts import Cluster, Containers, EtcdData, EtcdLogs, FileInfo, Manifests, current, static_pod

_USUAL = "/var/lib/etcd"
_END = "/member/snap/db"


@check(
    title="etcd works on another data directory",
    severity=Severity.CRITICAL,
    layer=Layer.ETCD,
    explains=(
        "control_plane/api_server_unhealthy",
        "control_plane/etcd_not_running",
        "network/cluster_dns_unavailable",
        "worker_node/node_heartbeat_stale",
    ),
    tags=("etcd", "storage"),
)
def etcd_data_dir_changed(
    data: EtcdData,
    manifests: Manifests | None,
    cluster: Cluster,
    containers: Containers | None,
    logs: EtcdLogs | None,
) -> Iterator[Finding]:
    """A new directory is empty: the cluster looks as if it had never been. The old one is still there."""
    for node, files in data:
        mine = manifests.get(node) if manifests else None
        found = mine.of("etcd") if mine else None
        if found is None or found.shell or not (flag := found.flag("data-dir")):
            continue
        inside = flag.value.rstrip("/")
        volume, host = found.on_host(inside)
        host = host.rstrip("/")
        if volume and not host:
            continue  # a volume that is not of the node
        others = [d for d in files.databases if d.path.removesuffix(_END) != host and d.size > 0]
        if not others:
            continue
        old = max(others, key=lambda d: (d.path == _USUAL + _END, d.changed.timestamp() if d.changed else 0.0))
        last = current(containers.get(node), "etcd") if containers else None
        began = (last.started or last.created) if last else None
        own = (logs.get(node) if logs else None) or ()
        empty = any(x.fields.get("dir-type") == "empty" for g in own[:1] for x in g.lines)
        here = next((d for d in files.databases if d.path == host + _END), None)
        if host:
            # A restored snapshot beside the old data is as it should be: it is the new, much smaller one that is not.
            small = here is None or here.size * 2 < old.size
            moment = old.changed is not None and began is not None and abs((began - old.changed).total_seconds()) < 600
            if not (small and (empty or moment)):
                continue
            what = f"works on {host}, which is new: the cluster's data is in {old.path.removesuffix(_END)}"
        else:
            what = f"keeps its data in {inside} inside its container, where no volume is: the cluster's data is in "
            what += old.path.removesuffix(_END)
        pod = static_pod("etcd", node)
        yield Finding(
            pod,
            f"{pod.name} {what} ({found.path}:{flag.line})",
            evidence=(
                found.quote(node, flag.line),
                Evidence(f"sudo ls -la --time-style=full-iso {old.path}", _shown(old), node),
                *([Evidence(f"sudo ls -la --time-style=full-iso {here.path}", _shown(here), node)] if here else []),
                *([Evidence(f"sudo grep dir-type {own[0].path}", '"dir-type":"empty"', node)] if empty and own else []),
            ),
            next=(
                f"ssh {node} sudoedit {found.path}    # line {flag.line}: --data-dir={old.path.removesuffix(_END)}, "
                "and the volume's path and mountPath alike",
                f"ssh {node} sudo crictl ps -a --name etcd",
                "kubectl get namespaces    # the cluster's own are back",
            ),
            touches=(pod, static_pod("kube-apiserver", node), CLUSTER),
        )


def _shown(info: FileInfo) -> str:
    when = f", last written {info.changed:%Y-%m-%d %H:%M:%S} UTC" if info.changed else ""
    return f"{info.size} bytes{when}"
