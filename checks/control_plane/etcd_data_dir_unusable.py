"""The data directory of etcd cannot be used: no permission, not there, full, read-only or damaged."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import CLUSTER, Evidence, Finding, Layer, Severity, check, present, shorten
from kdiag.facts import Cluster, Containers, EtcdLogs, current, static_pod

_STEADY = 60
_SAID = (
    (re.compile(r"permission denied"), "it has no permission"),
    (re.compile(r"read-only file system"), "the file system is read-only"),
    (re.compile(r"operation not permitted"), "it, or a folder in it, may not be changed (chattr +i)"),
    (re.compile(r"no space left on device"), "the disk is full"),
    (re.compile(r"not a directory"), "it is no directory"),
    (re.compile(r"input/output error"), "the disk fails"),
    (
        re.compile(r"crc mismatch|wal: (?:file not found|slice bounds)|snap(?:shot)?.*(?:corrupt|not found)"),
        "it is damaged",
    ),
    (re.compile(r"SIGBUS"), "its database is damaged: it is shorter than it says of itself, or the disk fails"),
    (
        re.compile(r"invalid|unexpected fault|page .* already freed|file size too small|self identifies as"),
        "its database is damaged",
    ),
    (re.compile(r"unexpected EOF|walpb|corrupt"), "it is damaged"),
)
_WHERE = re.compile(r"data dir|/member\b|\bwal\b|snap|backend|bbolt|bolt|freepages|db file|database", re.IGNORECASE)


@check(
    title="etcd cannot use its data directory",
    severity=Severity.CRITICAL,
    layer=Layer.ETCD,
    explains=(
        "control_plane/etcd_not_running",
        "control_plane/api_server_unreachable",
    ),
    tags=("etcd", "storage"),
)
def etcd_data_dir_unusable(containers: Containers, logs: EtcdLogs, cluster: Cluster) -> Iterator[Finding]:
    """Only while etcd does not run: an old line in its log is history."""
    lone = sum(bool(own) for _, own in logs) == 1
    for node, own in logs:
        last = current(containers.get(node), "etcd")
        if last is None or not own:
            continue
        if last.running and (last.attempt == 0 or cluster.age(last.started or last.created) > _STEADY):
            continue
        fatal = next((g.fatal for g in own if g.fatal), None)
        if fatal is None or (last.created and fatal.when and fatal.when < last.created and not last.running):
            continue
        text = fatal.text
        why = next((words for pattern, words in _SAID if pattern.search(text)), "")
        if not why or not _WHERE.search(text) or re.search(r"/pki/|\.crt|\.key", text):
            continue
        path = re.search(r"(/[\w./-]*etcd[\w./-]*)", text)
        place = path[1].rstrip(".:").removesuffix("/.touch") if path else "/var/lib/etcd"
        pod = static_pod("etcd", node)
        yield Finding(
            pod,
            shorten(f"{pod.name} cannot use its data directory {place}: {why}", 200),
            evidence=(
                Evidence("crictl ps -a --name etcd", f"{last.state.capitalize()}, attempt {last.attempt}", node),
                Evidence(f"sudo tail -n 20 {own[0].path}", shorten(text, 400), node),
            ),
            next=tuple(_next(node, place, why)),
            touches=present(pod, static_pod("kube-apiserver", node), CLUSTER if lone else None),
            severity=Severity.CRITICAL if lone else Severity.ERROR,
        )


def _next(node: str, place: str, why: str) -> Iterator[str]:
    yield f"ssh {node} sudo ls -lad {place} {place}/member"
    if "permission" in why:
        yield f"ssh {node} sudo chown -R root:root /var/lib/etcd && ssh {node} sudo chmod 700 /var/lib/etcd"
    elif "chattr" in why:
        yield f"ssh {node} sudo lsattr -d /var/lib/etcd /var/lib/etcd/member    # an i among the dashes"
        yield f"ssh {node} sudo chattr -R -i /var/lib/etcd"
    elif "full" in why:
        yield f"ssh {node} df -h {place}"
    elif "read-only" in why:
        yield f"ssh {node} sudo grep -n -A2 'mountPath: /var/lib/etcd' /etc/kubernetes/manifests/etcd.yaml  # readOnly?"
        yield f"ssh {node} findmnt -T {place}    # ro?"
    elif "damaged" in why:
        yield f"ssh {node} sudo cp -a /var/lib/etcd /root/etcd-damaged    # first of all"
        yield f"ssh {node} sudo ls -la /var/lib/etcd/member/snap /var/lib/etcd/member/wal    # was a restore cut short?"
    else:
        yield f"ssh {node} sudo grep -n -e data-dir -e 'path: /var/lib' /etc/kubernetes/manifests/etcd.yaml"
