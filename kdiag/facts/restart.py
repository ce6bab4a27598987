"""A part of the control plane that was stopped on purpose, and is on its way up again: no failure of its own.

Somebody edited its manifest, or took it away and put it back; or the API server was away, and what lives by it with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from kdiag.facts.endings import lived
from kdiag.facts.events import Events
from kdiag.facts.nodes import SystemLeases
from kdiag.facts.pods import ContainerStatus, Pod, Pods
from kdiag.facts.system import RETURN, api_server_since

#: Seconds in which a component that has begun to run takes its Lease.
_BEGIN = 30
#: Seconds within which a program ends that cannot start, or that only prints something.
_AT_ONCE = 20
#: Seconds in which the controllers do what was left undone while they were away.
_CAUGHT_UP = 60
#: Seconds within which the kubelet mostly starts again what it was told to stop.
_BACK = 60
#: Seconds that a container may take to end after it was asked to, and clocks may differ by.
_GRACE, _SLACK = 60, 5
#: One that began to ask before the API server answered may still give up after it did.
_NOTICED = timedelta(seconds=15)
_PAUSES = ("", "CrashLoopBackOff", "ContainerCreating", "PodInitializing")


def stopped(pod: Pod, status: ContainerStatus, events: Events | None) -> bool:
    """Whether the last end of a container was asked for: by the kubelet, not for a probe, or of an earlier pod."""
    end = status.ended
    if end is None or end.finished_at is None:
        return end is None
    ran = lived(end)
    # A static pod that was taken away and put back keeps its count. Its mirror may be later than its first crash.
    if pod.created and end.finished_at <= pod.created and ran > _AT_ONCE:
        return True
    said = events.latest(pod.ref(), "Killing") if events else None
    if ran and said and said.when and end.started_at and end.started_at <= said.when:
        after = (end.finished_at - said.when).total_seconds()
        if -_SLACK <= after <= _GRACE:
            return said.message.startswith("Stopping container")
    # Who ends by itself and well does so at once, as one that was only asked for its version.
    return end.exit_code == 0 and ran > _AT_ONCE


def returning(pod: Pod, now: datetime, events: Events | None) -> bool:
    """Whether a static pod was made, or stopped on purpose, a moment ago and has not had the time to come up since."""

    def lately(moment: datetime | None, seconds: float) -> bool:
        return moment is not None and (now - moment).total_seconds() < seconds

    def comes(status: ContainerStatus) -> bool:
        if not stopped(pod, status, events):
            return False
        if status.state.running:
            return lately(status.state.running.started_at, _BEGIN)
        waiting = status.state.waiting
        if waiting and waiting.reason not in _PAUSES:
            return False
        return lately((status.ended.finished_at if status.ended else None) or pod.created, _BACK)

    return all(map(comes, pod.statuses)) if pod.statuses else lately(pod.created, _BEGIN)


def catching_up(own: Sequence[Pod], pods: Pods, leases: SystemLeases, now: datetime) -> bool:
    """Whether the API server came back a moment ago, and these pods run or ended because it was away."""
    since = api_server_since(pods, leases, now)
    if since is None or (now - since).total_seconds() >= RETURN:
        return False

    def lives(status: ContainerStatus) -> bool:
        end = status.ended
        return bool(status.state.running or (end and end.finished_at and end.finished_at < since + _NOTICED))

    # Its mirror pods, too, may not have been written again yet.
    return all(p.ready or all(map(lives, p.statuses)) for p in own)


def too_early(own: Sequence[Pod], pods: Pods, leases: SystemLeases, events: Events | None, now: datetime) -> str:
    """Why a Lease that is not renewed says nothing yet of the component with these pods; empty when it does."""
    if catching_up(own, pods, leases, now):
        return f"the API server came back less than {RETURN} s ago: it may not have renewed its Lease yet"
    if any(returning(p, now, events) for p in own):
        return "it was stopped or made a moment ago: it may not hold its Lease yet"
    return ""


def controllers_begin(pods: Pods | None, leases: SystemLeases | None, now: datetime) -> bool:
    """Whether the controller manager has begun to work a moment ago, and much is still to be caught up with."""
    if leases is None or pods is None:
        return False
    lease = leases.get("kube-controller-manager", "kube-system")
    began = lease.spec.acquire_time if lease else None
    if began and (now - began).total_seconds() < _CAUGHT_UP:
        return True
    since = api_server_since(pods, leases, now)
    return since is not None and (now - since).total_seconds() < _CAUGHT_UP
