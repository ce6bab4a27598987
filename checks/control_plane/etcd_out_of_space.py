"""The database of etcd has reached its quota, and every write is refused."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import CLUSTER, ETCD_FAILS, Evidence, Finding, Layer, Severity, check, present, shorten
from kdiag.facts import ETCDCTL, Cluster, Containers, EtcdAnswer, EtcdAnswers, EtcdLogs, Manifests, static_pod

_LATELY = 300
_DEFAULT = 2**31  # bytes: the quota of an etcd that is told none


@check(
    title="etcd is out of space",
    severity=Severity.CRITICAL,
    layer=Layer.ETCD,
    explains=ETCD_FAILS,
    tags=("etcd", "storage"),
)
def etcd_out_of_space(
    logs: EtcdLogs,
    cluster: Cluster,
    answers: EtcdAnswers | None,
    containers: Containers | None,
    manifests: Manifests | None,
) -> Iterator[Finding]:
    """The alarm stays until somebody disarms it, also when there is space again. Nearly full is a warning."""
    for node, own in logs:
        answer = answers.get(node) if answers else None
        known = answer is not None and answer.answered
        line = _line(node, own, cluster, containers)
        if not own and not known:
            continue
        alarm = answer is not None and ("NOSPACE" in answer.alarms or any("NOSPACE" in e for e in answer.errors))
        full = alarm or (not known and line is not None)
        nearly = known and answer is not None and answer.quota > 0 and answer.size > answer.quota * 0.9
        if not full and not nearly:
            continue
        pod = static_pod("etcd", node)
        used = _used(answer)
        seen = manifests.get(node) if manifests else None
        manifest = seen.of("etcd") if seen else None
        quota = manifest.flag("quota-backend-bytes") if manifest else None
        tiny = quota is not None and quota.value.isdecimal() and 0 < int(quota.value[:18]) < _DEFAULT
        place = f" ({manifest.where(quota.line)} --{quota.name})" if manifest and quota and tiny else ""
        yield Finding(
            pod,
            f"{pod.name} refuses every write: alarm NOSPACE{used and f', {used}'}{place}"
            if full
            else f"{pod.name} will soon refuse every write: {used}{place}",
            evidence=present(
                manifest.quote(node, quota.line) if manifest and quota and place else None,
                Evidence(f"sudo {ETCDCTL} alarm list", "alarm:NOSPACE" if alarm else "no alarm yet", node)
                if known
                else None,
                Evidence(f"sudo {ETCDCTL} endpoint status -w table", used, node) if used else None,
                Evidence(f"sudo tail -n 50 {line[0]}", shorten(line[1], 300), node) if line else None,
            ),
            next=present(
                f"ssh -t {node} sudoedit {manifest.path}    # line {quota.line}: 2147483648, etcd's default, or more"
                if manifest and quota and place
                else None,
                f'CTL="{ETCDCTL}"',
                f"ssh {node} sudo $CTL endpoint status -w json    # the revision",
                f"ssh {node} sudo $CTL compact REVISION",
                f"ssh {node} sudo $CTL defrag --command-timeout=60s    # one member after the other",
                f"ssh {node} sudo $CTL alarm disarm",
            ),
            touches=(pod, static_pod("kube-apiserver", node), CLUSTER) if full else (pod,),
            severity=Severity.CRITICAL if full else Severity.WARNING,
        )


def _used(answer: EtcdAnswer | None) -> str:
    if answer is None or not answer.quota or not answer.size:
        return ""
    return f"{_size(answer.size)} of a quota of {_size(answer.quota)}, {_size(answer.in_use)} in use"


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _line(node: str, own: object, cluster: Cluster, containers: Containers | None) -> tuple[str, str] | None:
    """What etcd or the API server said of it lately."""
    for log in own[:1] if isinstance(own, tuple) else ():
        for line in reversed(log.lines):
            said = f"{line.text} {' '.join(line.fields.values())}"
            if line.when and cluster.age(line.when) < _LATELY and ("NOSPACE" in said or "space exceeded" in said):
                return log.path, said
    seen = containers.get(node) if containers else None
    for server in (seen.log("kube-apiserver") if seen else ())[:1]:
        for told in reversed(server.lines):
            if told.when and cluster.age(told.when) < _LATELY and "mvcc: database space exceeded" in told.text:
                return server.path, told.text
    return None
