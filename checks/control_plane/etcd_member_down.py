"""One etcd member is away; the others still have a leader."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, shorten, ssh
from kdiag.facts import PEER_AWAY, Cluster, EtcdAnswers, EtcdLogs

_LATELY = 120
_RESTART = 25  # a member that is upgraded is away that long
#: Of a peer that is away etcd says so every five seconds (v3.6.10); that it is back it says at level info only.
_SILENT = 25
_BACK = re.compile(r"peer became active|established TCP streaming connection")


@check(
    title="etcd member is away",
    severity=Severity.ERROR,
    layer=Layer.ETCD,
    tags=("etcd",),
)
def etcd_member_down(logs: EtcdLogs, cluster: Cluster, answers: EtcdAnswers | None) -> Iterator[Finding]:
    """Every member that runs says which peer it cannot reach. One more lost may end the quorum."""
    said: dict[str, dict[str, tuple[str, str, str]]] = {}  # by who says it, of whom
    # Any member's list names them all; not every one of them can be asked.
    names = {m.id: m.name for _, answer in (answers or ()) for m in answer.members if m.name}
    for node, own in logs:
        if not own:
            continue
        last: dict[str, tuple[bool, str, str]] = {}
        count: dict[str, int] = {}
        began: dict[str, datetime] = {}
        lasts: dict[str, float] = {}
        ended: dict[str, datetime] = {}
        for line in own[0].lines:
            if line.when is None or cluster.age(line.when) > _LATELY:
                continue
            text = f"{line.message} {' '.join(line.fields.values())}"
            peer = line.fields.get("remote-peer-id") or line.fields.get("peer-id") or _peer(text)
            if not peer:
                continue
            if _BACK.search(line.message):
                last[peer] = (False, "", "")
                count[peer] = 0
            elif PEER_AWAY.search(line.message):
                count[peer] = count.get(peer, 0) + 1
                if count[peer] == 1:
                    began[peer] = line.when
                lasts[peer] = (line.when - began[peer]).total_seconds()
                ended[peer] = line.when
                last[peer] = (True, line.text, own[0].path)
        for peer, (bad, text, path) in last.items():
            silent = bad and cluster.age(ended[peer]) > _SILENT
            if bad and not silent and count[peer] >= 3 and lasts[peer] >= _RESTART:
                said.setdefault(node, {})[names.get(peer, peer)] = (node, text, path)
    away: dict[str, tuple[str, str, str]] = {}
    for node, peers in said.items():
        if not _alone(node, said):
            away = peers | away
    known = {node for node, _ in logs}
    for name, (node, text, path) in sorted(away.items()):
        named = not re.fullmatch(r"[0-9a-f]{12,16}", name)
        yield Finding(
            Ref("Pod", f"etcd-{name if named else node}", "kube-system"),
            f"etcd-{name} is away: {node} cannot reach it as a peer; etcd works on with the members that are left"
            if named
            else f"etcd-{node} cannot reach its peer {name}; etcd works on with the members that are left",
            evidence=(Evidence(f"sudo tail -n 20 {path}", shorten(text, 300), node),),
            next=(
                f"ssh {name if name in known else 'ITS-NODE'} sudo crictl ps -a --name etcd",
                ssh(node, "sudo ss -tn state syn-sent 'dport = :2380'") + "    # firewall, network?",
            ),
            touches=(Ref("Node", name),) if named else (),
            key="" if named else name,
        )


def _alone(node: str, said: Mapping[str, Mapping[str, tuple[str, str, str]]]) -> bool:
    """Whether it misses several peers, and is missed by one that misses fewer: then it is the one that is away."""
    mine = said[node]
    return len(mine) > 1 and any(node in said[other] and len(said[other]) < len(mine) for other in said)


def _peer(text: str) -> str:
    match = re.search(r"peer(?: URL)? ([0-9a-f]{12,16})\b", text)
    return match[1] if match else ""
