"""A control-plane node has no manifest for a component that it was set up to run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from kdiag.check import STATIC_POD_ABSENT, Evidence, Finding, Layer, Severity, check, listing, present, ssh
from kdiag.facts import (
    Cluster,
    Containers,
    FileInfo,
    Manifests,
    Mount,
    Mounts,
    NodeManifests,
    Units,
    stands_still,
    static_pod,
)

#: kubeadm writes the manifests with the kubeconfigs, but for that of a member of etcd: it joins last. In seconds.
_YOUNG = 60
_YOUNG_MEMBER = 300
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@check(
    title="Static pod manifest is missing",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=STATIC_POD_ABSENT,
    tags=("static-pods", "manifests", "scheduler", "etcd", "apiserver"),
)
def manifest_missing(
    manifests: Manifests,
    cluster: Cluster,
    containers: Containers | None,
    units: Units | None,
    mounts: Mounts | None,
) -> Iterator[Finding]:
    """By what kubeadm left on the node: a kubeconfig of the component, an etcd member's certificate."""
    for node, found in manifests:
        if not found.used or len(found.meant) < 3:
            continue
        written = [i.changed for path, i in found.tree.items() if path.endswith("/scheduler.conf") and i.changed]
        made = max(written, default=_LONG_AGO)
        if units is not None and units.get(node) is not None and units.unit(node, "kubelet") is None:
            continue  # k3s and its kin embed the kubelet
        others = [m.file for m in found.files]
        for part in found.meant:
            if found.all_of(part) or (not found.there and part != found.meant[0]):
                continue
            subject = static_pod(part, node)
            seen = containers.get(node) if containers else None
            live = bool(seen and any(c.running for c in seen.of(part)))
            lies = _elsewhere(part, found)
            ran = bool(seen and seen.of(part)) or any(i.changed and i.changed >= made for i in lies)
            if not ran and cluster.age(made) < (_YOUNG_MEMBER if part == "etcd" else _YOUNG):
                continue
            over = mounts.hiding(node, found.folder) if mounts and found.there else None
            where = f"; there is {lies[0].path}" if len(lies) == 1 else ""
            where = where or (f"; copies are {listing([i.path for i in lies], 2)}" if lies else "")
            if over:
                where = f"; a {over.kind} is mounted over {over.path} and hides what was there"
            if not found.there:
                message = f"{subject.name} and the whole control plane cannot run: {node} has no folder {found.folder}"
            else:
                message = f"{subject.name} does not run: {node} has no manifest for it in {found.folder}{where}"
            alone = sum(1 for _, other in manifests if part in other.meant) <= 1
            yield Finding(
                subject,
                message,
                evidence=present(
                    Evidence(f"ls -la {found.folder}", listing(others, 6) or "no file", node),
                    Evidence(f"grep {over.path} /proc/mounts", f"{over.device} {over.path} {over.kind}", node)
                    if over
                    else None,
                    *(Evidence(f"ls -la {i.path}", _shown(i, found.folder), node) for i in lies[:2]),
                    Evidence(f"crictl ps --name {part}", "still running, until the kubelet ends it", node)
                    if live
                    else None,
                ),
                next=tuple(_next(node, part, lies, found.folder, over)),
                touches=stands_still(manifests, part),
                severity=Severity.CRITICAL if alone else Severity.ERROR,
            )


def _elsewhere(part: str, found: NodeManifests) -> list[FileInfo]:
    """Files of that name that the kubelet does not read: a dot-file, one in a sub-folder, one moved away."""
    names = (f"{part}.", f".{part}.")
    # One search looks into the sub-folders of the kubelet's folder, the other comes by them.
    places = {i.path: i for i in (*(found.elsewhere or ()), *found.ignored)}.values()
    mine = [i for i in places if i.path.rpartition("/")[2].startswith(names) and i.kind == "f"]
    mine = [i for i in mine if i.path.rpartition("/")[0] != found.folder or i in found.ignored]
    # What was only renamed comes first, then what lies in /tmp or a home, then backups that kubeadm made.
    return sorted(mine, key=lambda i: (i not in found.ignored, "backup" in i.path, i.path.count("/"), i.path))


def _shown(info: FileInfo, folder: str) -> str:
    if info.path.startswith(folder + "/"):
        inside = info.path[len(folder) + 1 :]
        return "the kubelet passes over " + ("sub-folders" if "/" in inside else "names that begin with a dot")
    return f"{info.size} bytes" + (f", changed {info.changed:%Y-%m-%d %H:%M} UTC" if info.changed else "")


def _next(node: str, part: str, lies: list[FileInfo], folder: str, over: Mount | None) -> Iterator[str]:
    phase = {
        "etcd": "etcd local",
        "kube-apiserver": "control-plane apiserver",
        "kube-controller-manager": "control-plane controller-manager",
        "kube-scheduler": "control-plane scheduler",
    }[part]
    if over:
        yield f"ssh {node} sudo umount {over.path}    # and take it out of /etc/fstab, if it is there"
    elif lies:
        if len(lies) > 1:
            yield f"ssh {node} sudo ls -la {' '.join(i.path for i in lies[:4])}    # the right one is the last that ran"
        yield f"ssh {node} sudo cp -p {lies[0].path} {folder}/{part}.yaml"
    else:
        yield ssh(node, f"sudo find / -xdev -name '{part}*.y*ml*'") + "    # was it moved?"
        yield f"ssh {node} sudo kubeadm init phase {phase}    # writes it anew; give the cluster's --config"
    yield f"ssh {node} sudo crictl ps -a --name {part}"
