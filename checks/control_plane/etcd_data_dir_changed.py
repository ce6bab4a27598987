"""The data directory that etcd works on is not the one that holds the cluster's data."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Severity, check, present
from kdiag.facts import DATABASE, Containers, EtcdData, EtcdLine, EtcdLogs, FileInfo, Manifests, current, static_pod

_USUAL = "/var/lib/etcd"
#: Seconds between the last write to the old data and the start on the new, where no log tells how it began.
_MOMENT = 600


@check(
    title="etcd works on another data directory",
    severity=Severity.CRITICAL,
    layer=Layer.ETCD,
    explains=(
        "control_plane/administrator_rights_missing",
        "control_plane/api_server_unhealthy",
        "control_plane/etcd_member_conflict",
        "control_plane/etcd_not_running",
        "network/cluster_dns_unavailable",
        "worker_node/node_heartbeat_stale",
    ),
    tags=("etcd", "storage"),
)
def etcd_data_dir_changed(
    data: EtcdData,
    manifests: Manifests | None,
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
        others = [d for d in files.databases if d.path.removesuffix(DATABASE) != host and d.size > 0]
        if not others:
            continue
        old = max(others, key=lambda d: (d.path == _USUAL + DATABASE, d.changed.timestamp() if d.changed else 0.0))
        own = (logs.get(node) if logs else None) or ()
        empty = next((x for g in own for x in g.lines if x.fields.get("dir-type") == "empty"), None)
        here = next((d for d in files.databases if d.path == host + DATABASE), None)
        if host:
            bare = not any(path.startswith(f"{host}/member") for path in files.folders.get(host, (f"{host}/member",)))
            last = current(containers.get(node), "etcd") if containers else None
            if not (bare or _left_for(old, here, empty, (last.started or last.created) if last else None)):
                continue
            does = "is to work" if bare else "works"
            what = f"{does} on {host}, which is new: the cluster's data is in {old.path.removesuffix(DATABASE)}"
        else:
            what = f"keeps its data in {inside} inside its container, where no volume is: the cluster's data is in "
            what += old.path.removesuffix(DATABASE)
        pod, data_dir = static_pod("etcd", node), old.path.removesuffix(DATABASE)
        mount = next((v for v in found.host_volumes() if v.name == volume), None)
        line, repair = flag.line, f"--data-dir={data_dir}, and the volume's path and mountPath alike"
        if mount and inside == data_dir:  # the flag is as it was: the mount is not
            line, repair = mount.line, f"path: {data_dir}"
        yield Finding(
            pod,
            f"{pod.name} {what} ({found.path}:{line})",
            evidence=present(
                found.quote(node, line),
                Evidence(f"sudo ls -la --time-style=full-iso {old.path}", _shown(old), node),
                Evidence(f"sudo ls -la --time-style=full-iso {here.path}", _shown(here), node) if here else None,
                Evidence(f"sudo grep dir-type {own[0].path}", '"dir-type":"empty"', node) if empty else None,
            ),
            next=(
                f"ssh -t {node} sudoedit {found.path}    # line {line}: {repair}",
                f"ssh {node} sudo crictl ps -a --name etcd",
                "kubectl get namespaces    # the cluster's own are back",
            ),
            touches=(pod, static_pod("kube-apiserver", node), CLUSTER),
        )


def _left_for(old: FileInfo, here: FileInfo | None, empty: EtcdLine | None, began: datetime | None) -> bool:
    """Whether nothing was written to the old data any more when etcd began on the new: a copy of it is younger.

    A restored snapshot beside the old data is as it should be. It has a database before etcd begins, of about the size
    of the old one; a new one may have that size, too, as etcd makes room in advance.
    """
    if old.changed is None:
        return False
    if empty is not None and empty.when is not None:
        return old.changed <= empty.when
    small = here is None or here.size * 2 < old.size
    return small and began is not None and abs((began - old.changed).total_seconds()) < _MOMENT


def _shown(info: FileInfo) -> str:
    when = f", last written {info.changed:%Y-%m-%d %H:%M:%S} UTC" if info.changed else ""
    return f"{info.size} bytes{when}"
