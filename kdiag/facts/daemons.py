"""How a daemon of a node does: whether it keeps crashing, what it said last, and what hangs on it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kdiag.facts.cluster import Cluster
from kdiag.facts.hosts import HostFact
from kdiag.facts.journal import Entry, JournalLog
from kdiag.facts.kubelet import Kubelets, KubeletSetup
from kdiag.facts.manifests import Manifests
from kdiag.facts.runtime import NodeContainers, RuntimeConfigs, current
from kdiag.facts.standing import stands_still, static_pod
from kdiag.facts.units import Unit, Units
from kdiag.model.result import CLUSTER, Evidence, Ref, Severity
from kdiag.model.text import go_seconds

#: A daemon that has run for so long after a crash has got over what ended it, in seconds.
_OVER = 20
#: How long a start may take.
_START = 45
#: How old the last words of a crashing daemon may be.
_OLD = 600
_PROPERTIES = {
    "ActiveState": "active",
    "SubState": "sub",
    "UnitFileState": "enabled",
    "Result": "result",
    "ExecMainStatus": "exit_status",
    "NRestarts": "restarts",
}
_STEADY = re.compile(
    r"Successfully registered node|Fast updating node status|SyncLoop ADD|Starting kubelet main sync loop"
)


def crashing(unit: Unit | None, log: JournalLog | None, cluster: Cluster) -> bool:
    """Whether a unit ends each time it is started: also in the seconds in which it is up again."""
    if unit is None or not unit.exists:
        return False
    if unit.active == "failed":
        return True
    if unit.active == "activating":
        if unit.sub == "auto-restart" or unit.restarts > 0:
            return True
        return cluster.age(unit.changed) > _START
    if unit.running and unit.restarts and cluster.age(unit.entered) < _OVER and log:
        last = log.fatal() or (log.killed[0] if log.killed and unit.restarts > 1 else None)
        steady = any(_STEADY.search(e.text) for e in log.last_run)
        return bool(last and last.when and cluster.age(last.when) < _OVER + _START and not steady)
    return False


def as_it_ended(unit: Unit, log: JournalLog | None, cluster: Cluster) -> Unit:
    """A unit that is up for the moment, with how systemd says that its last run was killed: ``systemctl show`` tells
    nothing of it while the next one runs."""
    if log is None or log.killed is None or not unit.running or not crashing(unit, log, cluster):
        return unit
    _, signal, result = log.killed
    return replace(unit, result=result, exit_status=signal)


def last_reason(unit: Unit | None, log: JournalLog | None, cluster: Cluster) -> Entry | None:
    """Why a crashing daemon says that it ends; None for one that does not crash, or says nothing."""
    if log is None or not crashing(unit, log, cluster):
        return None
    entry = log.fatal()
    if entry is None or unit is None or not unit.running:
        return entry  # a clock that is off must not hide why it is down
    return entry if entry.when is None or cluster.age(entry.when) < _OLD else None


def down(unit: Unit | None, log: JournalLog | None, cluster: Cluster) -> bool:
    """Whether it does no work at present: stopped, failed or crashing."""
    return unit is not None and (not unit.running or crashing(unit, log, cluster)) and unit.active != "reloading"


def of(fact: HostFact[JournalLog] | None, node: str) -> JournalLog | None:
    """A node's journal, where it was read."""
    return fact.get(node) if fact else None


def unit_state(unit: Unit, node: str, *names: str) -> Evidence:
    """``systemctl show`` of a unit, as far as it tells."""
    wanted = names or ("ActiveState", "SubState", "UnitFileState", "Result", "ExecMainStatus")
    shown = [f"{name}={value}" for name in wanted if (value := getattr(unit, _PROPERTIES[name])) not in ("", None)]
    return Evidence(f"systemctl show {unit.name} -p {','.join(wanted)}", " ".join(shown) or unit.state, node)


def journal_line(entry: Entry, node: str, unit: str = "kubelet") -> Evidence:
    """One line of the journal, as evidence."""
    stamp = f"{entry.when:%H:%M:%S} " if entry.when else ""
    return Evidence(f"journalctl -u {unit} -n 50 --no-pager", (stamp + entry.said)[:420], node)


def file_line(path: str, line: int, text: str, node: str) -> Evidence:
    """One line of a file, as evidence."""
    return Evidence(f"sed -n {line}p {path}" if line else f"cat {path}", text, node)


def hosted(node: str, manifests: Manifests | None, cluster: Cluster | None = None) -> tuple[Ref, ...]:
    """The static pods that only this node's kubelet keeps, and what stands still without them.

    With ``cluster``: all of it, where the API server is dead and has no other node to run on.
    """
    found = manifests.get(node) if manifests else None
    if manifests is None or found is None or not found.control_plane:
        return ()
    parts = tuple(dict.fromkeys((*found.meant, *(m.component for m in found.running))))
    pods = tuple(static_pod(part, node) for part in parts)
    dead = cluster is not None and bool(cluster.dead)
    leases = tuple(r for part in parts for r in stands_still(manifests, part) if r != CLUSTER or dead)
    return (*pods, *dict.fromkeys(leases))


def on_control_plane(node: str, manifests: Manifests | None) -> str:
    """What a dead kubelet means there, for a message; empty on a worker."""
    pods = [r.name for r in hosted(node, manifests) if r.kind == "Pod"]
    return "; its control-plane pods are not restarted and their manifests are not read" if pods else ""


def setups(kubelets: Kubelets, units: Units) -> Iterator[tuple[str, KubeletSetup, Unit]]:
    """The nodes that have a kubelet of their own in a unit; k3s and its like have none."""
    for node, setup in kubelets:
        unit = units.unit(node, "kubelet")
        if unit is not None:
            yield node, setup, unit


def latent(unit: Unit, log: JournalLog | None, cluster: Cluster) -> bool:
    """Whether the kubelet runs all the same: what is wrong on disk shows at its next start."""
    return not down(unit, log, cluster)


def how_bad(unit: Unit, log: JournalLog | None, cluster: Cluster) -> Severity:
    """A warning as long as the kubelet runs with what it read before."""
    return Severity.WARNING if latent(unit, log, cluster) else Severity.CRITICAL


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStart:
    """What a fault of its setup does to a kubelet: one that still runs with what it read before ``waits`` for it.

    ``reason`` is why it ends, where it says so; ``also`` what that means on this node, for the end of a message.
    """

    waits: bool
    reason: Entry | None
    also: str
    touches: tuple[Ref, ...]

    @property
    def fails(self) -> str:
        """What it does not do, in words."""
        return "will not start again" if self.waits else "does not start"

    @property
    def severity(self) -> Severity:
        """A warning as long as it runs."""
        return Severity.WARNING if self.waits else Severity.CRITICAL


def next_start(
    node: str, unit: Unit, journal: HostFact[JournalLog] | None, cluster: Cluster, manifests: Manifests | None
) -> NextStart:
    """How it stands with a kubelet whose setup has a fault."""
    log = of(journal, node)
    waits = latent(unit, log, cluster)
    return NextStart(
        waits=waits,
        reason=last_reason(unit, log, cluster),
        also="" if waits else on_control_plane(node, manifests),
        touches=() if waits else hosted(node, manifests, cluster),
    )


def started_at_once(node: str, part: str) -> str:
    """The command that ends the kubelet's pause before the next start of a container."""
    return f"ssh {node} sudo systemctl restart kubelet    # it starts {part} at once"


#: What the kubelet says each ten seconds of a container that it lets wait.
_BACK_OFF = r"back-off (?P<span>\d[0-9hms.]*) restarting failed container={} "
_SAID = 60


@dataclass(frozen=True, slots=True)
class BackOff:
    """A container that ended too often, when the kubelet starts it again, and the line that says so."""

    part: str
    until: datetime
    entry: Entry


def backed_off(part: str, seen: NodeContainers | None, log: JournalLog | None, cluster: Cluster) -> BackOff | None:
    """Whether the kubelet lets a component wait after its last end: up to five minutes."""
    last = current(seen, part)
    pattern = re.compile(_BACK_OFF.format(re.escape(part)))
    said = log.find(pattern) if log else None
    found = pattern.search(said.text) if said else None
    if said is None or found is None or last is None or last.running or last.finished is None:
        return None
    until = last.finished + timedelta(seconds=min(go_seconds(found["span"]) or 0.0, 3600.0))
    return BackOff(part, until, said) if cluster.age(said.when) < _SAID and cluster.age(until) < 0 else None


def started_anew(node: str, part: str) -> str:
    """The command that has the kubelet start a static pod's container again, for it reads files only at its start."""
    return f"ssh {node} 'sudo crictl ps -q --name {part} | xargs -r sudo crictl stop'    # it starts anew at once"


def more_inotify(node: str) -> tuple[str, str]:
    """The commands for a node whose inotify instances are used up: look, and allow more."""
    return (
        f"ssh {node} sudo sysctl fs.inotify.max_user_instances    # used up; 128 is few",
        f"ssh {node} sudo sysctl -w fs.inotify.max_user_instances=1024    # and below /etc/sysctl.d",
    )


def retry(node: str, *steps: str) -> tuple[str, ...]:
    """Steps on a node, and then the kubelet started anew."""
    return (
        *steps,
        f"ssh {node} sudo systemctl restart kubelet",
        f"ssh {node} systemctl is-active kubelet    # active, and still active ten seconds later",
    )


_RUNTIME_OF: Sequence[tuple[str, str]] = (
    ("cri-dockerd", "cri-docker"),
    ("crio", "crio"),
    ("containerd", "containerd"),
    ("docker", "docker"),
)


def runtime_unit(node: str, units: Units, kubelets: Kubelets | None, configs: RuntimeConfigs | None) -> Unit | None:
    """The unit of the runtime that this node's kubelet uses: by its endpoint, else the one that is there."""
    setup = kubelets.get(node) if kubelets else None
    config = configs.get(node) if configs else None
    endpoint = (setup.endpoint if setup else "") or (config.crictl_endpoint if config else "")
    if "k3s" in endpoint:
        return None
    for part, name in _RUNTIME_OF:
        if part in endpoint and (unit := units.unit(node, name)):
            return unit
    return units.runtime(node)
