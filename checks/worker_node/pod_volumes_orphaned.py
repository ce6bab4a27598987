"""The kubelet cannot remove the volumes of a pod that is gone, and tries again every two seconds."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Finding, Layer, Ref, Severity, check, shorten
from kdiag.facts import Cluster, Entry, KubeletJournal, journal_line

_ORPHANED = re.compile(r'orphaned pod \\?"([0-9A-Za-z-]{1,64})\\?" found, but (.*)')
# A pod that is being removed may be in the way for some rounds.
_LASTS = 60
_LATELY = 180


@check(
    title="Volumes of a pod that is gone are left over",
    severity=Severity.WARNING,
    layer=Layer.NODE,
    tags=("node", "kubelet", "storage"),
)
def pod_volumes_orphaned(journal: KubeletJournal, cluster: Cluster) -> Iterator[Finding]:
    """It removes no folder that is not empty: what is in it may be somebody's data, or still be mounted."""
    for node, log in journal:
        seen: dict[str, list[Entry]] = {}
        for entry in log.last_run:
            if (match := _ORPHANED.search(entry.text)) and entry.when:
                seen.setdefault(match[1], []).append(entry)
        for uid, entries in sorted(seen.items()):
            first, last = entries[0], entries[-1]
            lasts = (last.when - first.when).total_seconds() if last.when and first.when else 0
            if lasts < _LASTS or cluster.age(last.when) > _LATELY:
                continue
            match = _ORPHANED.search(last.text)
            why = match[2].partition(" : There were")[0].replace('\\"', '"').rstrip('" ') if match else ""
            folder = f"/var/lib/kubelet/pods/{uid}"
            yield Finding(
                Ref("Node", node),
                shorten(f"kubelet on {node} cannot remove the volumes of pod {uid}, which is gone: {why}", 240),
                evidence=(journal_line(last, node),),
                next=(
                    f"kubectl get pods -A -o jsonpath='{{.items[*].metadata.uid}}' | grep -c {uid}    # 0: it is gone",
                    f'ssh {node} "grep {uid} /proc/mounts; sudo ls -lR {folder}/volumes"',
                    f"ssh {node} sudo umount PATH    # each that is still mounted",
                    f"ssh {node} sudo rm -r --one-file-system {folder}    # when nothing in it is needed any more",
                ),
                key=uid,
            )
