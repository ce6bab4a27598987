"""The API server ends, or cannot start, because it gets no connection to etcd."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from kdiag.check import API_SERVER_FAILS, CLUSTER, Evidence, Finding, Layer, Severity, check, present, shorten
from kdiag.facts import Cluster, Containers, HostContainer, HostLog, Listeners, current, plain, static_pod

_STEADY = 60
#: After so many seconds without such a line, of a server that answers, it is over.
_OVER = 20
#: For so long after etcd's start its client may not have asked again: it waits longer after each attempt.
_OPENING = timedelta(seconds=45)
#: gRPC's longest pause between two attempts, with what is added by chance.
_PAUSE = 150
_LINK = re.compile(
    r"transport: error while dialing:? (?:dial )?(?P<dial>.*?)\\*\"|authentication handshake failed: (?P<tls>[^\\\"]*)"
    r"|(?P<preface>error reading server preface: [^\"]*)|(?P<plain>dial tcp:? \S+?:(?:2379|2380|4001): [^\"\\]*)"
    r"|(?P<no>etcdserver: (?:no leader|request timed out[^\"]*))",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"Addr: \\?\"(?P<a>[^\"\\]+)\\?\"|dial tcp (?P<b>[^\s]+:\d+)|->(?P<c>[\d.]+:\d+)")
#: A connection given up by itself, and other servers that it talks gRPC to.
_NOT_IT = re.compile(r"operation was canceled|dial unix|kms|konnectivity", re.IGNORECASE)
_GAVE_UP = re.compile(
    r"Error creating leases|error creating storage factory|etcd client: no leader|unable to create storage backend"
)


@check(
    title="kube-apiserver cannot reach etcd",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=API_SERVER_FAILS,
    tags=("etcd", "apiserver"),
)
def api_server_cannot_reach_etcd(
    containers: Containers, cluster: Cluster, listeners: Listeners | None
) -> Iterator[Finding]:
    """What precisely is wrong with etcd or with the way to it, another check says; this is what shows first."""
    servers = [node for node, seen in containers if seen.of("kube-apiserver")]
    for node, seen in containers:
        last = current(seen, "kube-apiserver")
        if last is None:
            continue
        began = last.started or last.created
        steady = last.running and cluster.age(began) > _STEADY
        log = _log(seen.log("kube-apiserver"), last.attempt, last.uid)
        etcd = current(seen, "etcd")
        found = _reason(log, etcd, steady=steady, cluster=cluster)
        if log is None or found is None:
            continue
        why, address, line = found
        pod = static_pod("kube-apiserver", node)
        back = _back(etcd, address, why, node, listeners, cluster)
        said = f"; etcd is back since {back:%H:%M:%S} UTC, and it asks again within two minutes" if back else ""
        state = "Running" if last.running else f"{last.state.capitalize()}, exit code {last.exit_code}"
        yield Finding(
            pod,
            f"{pod.name} cannot reach etcd{f' at {address}' if address else ''}: {shorten(why, 140)}{said}",
            evidence=(
                Evidence("crictl ps -a --name kube-apiserver", f"{state}, attempt {last.attempt}", node),
                Evidence(f"sudo tail -n 20 {log.path}", shorten(plain(line), 400), node),
            ),
            next=(
                *(
                    [
                        "wait two minutes: after a long outage it pauses for so long between two attempts",
                        f"ssh {node} sudo crictl stop {last.id[:13]}    # or: the kubelet starts it anew at once",
                    ]
                    if back
                    else []
                ),
                f"ssh {node} sudo crictl ps -a --name etcd    # does etcd run?",
                f"ssh {node} sudo ss -ltnp sport = :2379    # does it listen?",
                f"ssh {node} sudo grep -n -- --etcd- /etc/kubernetes/manifests/kube-apiserver.yaml",
            ),
            touches=present(pod, static_pod("etcd", node), CLUSTER if len(servers) == 1 else None),
            severity=Severity.CRITICAL if len(servers) == 1 and not back else Severity.ERROR,
        )


def _back(
    etcd: HostContainer | None, address: str, why: str, node: str, listeners: Listeners | None, cluster: Cluster
) -> datetime | None:
    """Since when etcd is there again, where the API server has only not asked again yet."""
    began = (etcd.started or etcd.created) if etcd and etcd.running else None
    if began is None or cluster.age(began) > _PAUSE or "refused" not in why:
        return None
    heard = (listeners.get(node) if listeners else None) or ()
    port = address.rpartition(":")[2]
    return began if any(str(one.port) == port and one.process in ("", "etcd") for one in heard) else None


def _log(logs: tuple[HostLog, ...], attempt: int, uid: str) -> HostLog | None:
    own = [g for g in logs if g.uid == uid and g.lines] or [g for g in logs if g.lines]
    # A log that has only begun tells nothing yet; the one before it may.
    best = next((g for g in own if g.attempt == attempt and any(_LINK.search(x.text) for x in g.lines)), None)
    return best or next((g for g in own if g.attempt <= attempt), None)


def _reason(
    log: HostLog | None, etcd: HostContainer | None, *, steady: bool, cluster: Cluster
) -> tuple[str, str, str] | None:
    """Why it got no connection, where to, and the line that says so; None when that is not what ails it."""
    if log is None:
        return None
    lines = [x for x in log.lines if not _NOT_IT.search(x.text)]
    hits = [x for x in lines if _LINK.search(x.text) and not re.search(r":(?:6443|10250|443)\b", x.text)]
    if not hits:
        return None
    began = (etcd.started or etcd.created) if etcd and etcd.running else None
    if began:
        hits = [x for x in hits if x.when is None or x.when > began + _OPENING]  # it was being restarted then
    if steady:
        # It runs: only what goes on now counts, and a single line is noise.
        late = [x for x in hits if x.when and cluster.age(x.when) < 60 and re.search(r"etcd|:2379\b", x.text)]
        if len(late) < 3 or (not cluster.dead and cluster.age(late[-1].when) > _OVER):
            return None
        hits = late
    elif not any(_GAVE_UP.search(x.text) for x in lines) and len(hits) < 2:
        return None
    if not hits:
        return None
    line = hits[-1].text
    match = _LINK.search(line)
    said = next((g for g in match.groups() if g), "") if match else ""
    address = _ADDRESS.search(line)
    where = next((g for g in address.groups() if g), "") if address else ""
    why = re.sub(r"^(?:dial )?(?:tcp )?(?:\S+:\d+: )?", "", said.replace("\\", "")).strip() or "no connection"
    return why.removeprefix("connect: "), where, line
