"""Why containers fail: each failing container has one fault, so that of many checks exactly one speaks.

What the kubelet says in the status decides; events and logs only tell apart what one exit code can mean, and ConfigMaps
whether a script of theirs is what cannot be run. A container that is starting, that ended as it should, or that has
recovered is no failure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from typing import NamedTuple

from kdiag.facts.awaited import waits_for_work
from kdiag.facts.base import Derived
from kdiag.facts.cluster import Cluster
from kdiag.facts.configuration import ConfigMaps
from kdiag.facts.endings import lived, telling
from kdiag.facts.events import Event, Events
from kdiag.facts.faults import Failure, Fault
from kdiag.facts.images import Image
from kdiag.facts.leadership import waits_for_lead
from kdiag.facts.logs import LogLine, Logs
from kdiag.facts.mended import mended
from kdiag.facts.pods import ContainerStatus, Pod, Pods, Terminated
from kdiag.facts.podspec import Container, Probe
from kdiag.facts.probes import LISTENS, LOOPBACK, inside_alone, other_host, wrong_port
from kdiag.facts.progress import begun, gives_way
from kdiag.facts.scripts import with_script
from kdiag.facts.workloads import Jobs, Owners, ReplicaSets
from kdiag.model.result import Ref

_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed"})
_CONFIG = frozenset({"CreateContainerConfigError"})
_START = frozenset({"RunContainerError", "CreateContainerError", "StartError", "ContainerCannotRun"})
_IMAGE: tuple[tuple[Fault, re.Pattern[str]], ...] = (
    (
        Fault.IMAGE_OTHER,  # it was found: what comes after that fails
        re.compile(
            r"(?i)no space left on device|unexpected (?:media type|commit digest)|signature was required"
            r"|rejected by policy|unsupported (?:media type|manifest|schema)|short-name .* did not resolve"
            r"|read-only file system|pull QPS exceeded"
        ),
    ),
    (
        Fault.WRONG_ARCHITECTURE,
        re.compile(
            r"(?i)no match(?:ing manifest)? for (?:platform|\w+/\w+)"
            r"|no image found in (?:manifest list|image index) for arch"
            r"|no image manifest .* platform|does not match the (?:specified|expected) platform"
        ),
    ),
    (
        Fault.REGISTRY_UNREACHABLE,
        re.compile(
            r"(?i)dial (?:tcp|udp)|no such host|i/o timeout|TLS handshake|connection (?:refused|reset)|toomanyrequests"
            r"|too many requests|pull rate limit|x509:|tls: |server gave HTTP response"
            r"|server misbehaving|no route to host"
            r"|network is unreachable|context deadline exceeded|: (?:unexpected )?EOF|proxyconnect|RegistryUnavailable"
            r"|\b50[0-9] (?:Internal Server Error|Bad Gateway|Service Unavailable|Gateway Time-?out)"
        ),
    ),
    (
        Fault.IMAGE_DENIED,
        re.compile(
            r"(?i)unauthorized|access denied|\bdenied\b|\b40[13]\b"
            r"|insufficient_scope|no basic auth|authentication required"
            r"|authorization failed|not authorized|forbidden"
        ),
    ),
    (
        Fault.IMAGE_NOT_FOUND,
        re.compile(
            r"(?i): not found|manifest unknown|name unknown|manifest[_ ]unknown|name_unknown|repository name not known"
            r"|\b404\b|does not exist|not found: manifest|no such manifest"
        ),
    ),
)
_NAMED_IMAGE = re.compile(r"(?:pull and unpack|[Pp]ull(?:ing)?) image \"([^\"\s]{1,400})\"")
_MISSING = re.compile(r"(?P<kind>configmap|secret)s? \\?\"(?P<name>[^\"\\]+)\\?\" not found")
_KEY = re.compile(r"couldn't find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) (?:[^/\s]+/)?(?P<name>\S+)")
_VOLUME_KEY = re.compile(r"references non-existent (?P<kind>secret|config) key: (?P<key>\S+)")
_VOLUME = re.compile(r"MountVolume\.SetUp failed for volume \"(?P<volume>[^\"]+)\"")
_ROOT = re.compile(r"runAsNonRoot|non-root policy")
_EXEC = re.compile(
    r"exec:? \\?\"?(?P<command>(?:[^\"\\]|\\.)+?)\\?\"?: (?:stat .*?: )?"
    r"(?P<why>executable file not found|no such file or directory"
    r"|permission denied|is a directory|not a directory)"
)
_ARCH = re.compile(
    r"exec format error|cannot execute(?: binary file)?: (?:required file not found|Exec format error)", re.I
)
#: What the container's first process says when the kernel finds the file, and not what has to run it.
_INTERPRETER = re.compile(r"^exec (?P<command>/\S{1,400}): (?P<why>no such file or directory)$")
_MOUNT = re.compile(
    r"error mounting|not a directory|mount a directory onto a file|subPath|read-only file system"
    r"|chdir to cwd|failed to mount"
    r"|error during container init: mkdir|failed to generate container .* spec"
)
_IN_USE = re.compile(
    r"address (?:is )?already in use|EADDRINUSE|address in use"
    r"|port is already allocated|port \d+ (?:is|was) (?:already )?in use",
    re.I,
)
_DENIED = re.compile(
    r"permission denied|read-only file ?system|operation not permitted|EACCES|EROFS|EPERM|AccessDeniedException", re.I
)
_SHELL = re.compile(
    r"(?:^|[:\s\]])(?P<command>[^\s:\[\]'\"]+): (?:command )?"
    r"(?P<why>not found|No such file or directory|Permission denied|Is a directory)"
    r"|can't open '?(?P<script>[^\s'\"]+)'?|(?P<tini>exec \S+ failed): (?:No such file|Permission)"
)
_PORT = re.compile(r"(?i)(?:tcp\d?|listen|bind|address|port)\b[^\n]*?[:= ](?P<port>\d{2,5})\b")
_WAITING = re.compile(
    r"(?i)\buntil\b|\bwhile\b|\bwait|nslookup|\bnc\b|pg_isready|mysqladmin|\bcurl\b|\bwget\b"
    r"|\bdig\b|getent|redis-cli|dockerize|/dev/tcp"
)
_REFUSED = re.compile(
    r"(?i)can't (?:find|resolve)|NXDOMAIN|connection refused|bad address|could not resolve"
    r"|no such host|not ready|waiting"
)
_REJECTED = (
    "Evicted",
    "NodeAffinity",
    "Preempting",
    "Preempted",
    "Shutdown",
    "NodeShutdown",
    "Terminated",
    "NodeLost",
    "UnexpectedAdmissionError",
)
_CONTROL_PLANE = ("kube-apiserver-", "etcd-", "kube-scheduler-", "kube-controller-manager-")

#: Seconds after which a container without a definite fault is no longer just starting.
NORMAL_START = 120.0
DEFINITE_START = 40.0
ROLLOUT = 600.0
#: Seconds that a pod of a new revision has without a definite fault, while the old one serves.
_NEW_REVISION = 300.0
#: Seconds after which a program that has opened another port is not likely to open the one it declares.
_OTHER_PORT_FIRST = 90.0
#: In such a line, that the port is its own: "Starting pool for postgres:5432" speaks of another's.
_OPENED = re.compile(r"(?i)\b(?:listen(?:ing|s)?|serving|bound)\b")
#: Seconds for which a container that nothing probes is ready whatever it does: it has not shown anything yet.
_JUST_STARTED = 5.0
#: Seconds after which a program that listens on one port will not open another.
_SETTLED = 30.0


@dataclass(frozen=True, kw_only=True)
class Failures(Derived):
    """The containers that fail, each with its one fault.

    Ask with the events, logs and ConfigMaps there are: they sharpen it, and it does not need them.
    """

    pods: Pods = field(default_factory=Pods)
    owners: Owners = field(default_factory=Owners)
    jobs: Jobs = field(default_factory=Jobs)
    cluster: Cluster = field(default_factory=Cluster)

    @classmethod
    def derive(cls, pods: Pods, replicasets: ReplicaSets, jobs: Jobs, cluster: Cluster) -> Failures:
        """Join the pods with their workloads and the time."""
        return cls(pods=pods, owners=Owners.derive(replicasets, jobs), jobs=jobs, cluster=cluster)

    @cached_property
    def _known(self) -> dict[tuple[int, int, int], tuple[Failure, ...]]:
        return {}

    def all(
        self, events: Events | None = None, logs: Logs | None = None, configmaps: ConfigMaps | None = None
    ) -> tuple[Failure, ...]:
        """Every failing container, classified once for the same events, logs and ConfigMaps."""
        key = (id(events), id(logs), id(configmaps))
        if key not in self._known:
            if configmaps is None:
                judge = _Judge(self, events, logs)
                found = (f for pod in self.pods.troubled for f in judge.pod(pod))
                self._known[key] = tuple(f for f in found if not mended(f, self.owners, self.pods))
            else:
                self._known[key] = tuple(with_script(f, configmaps) for f in self.all(events, logs))
        return self._known[key]

    def of(
        self,
        fault: Fault,
        events: Events | None = None,
        logs: Logs | None = None,
        configmaps: ConfigMaps | None = None,
    ) -> list[list[Failure]]:
        """The failures of one kind: a list for each workload, container and thing that the fault is about."""
        found: dict[tuple[Ref, str, str, str], list[Failure]] = {}
        for failure in self.all(events, logs, configmaps):
            if failure.fault is fault:
                found.setdefault((failure.owner, failure.container, failure.about, failure.key), []).append(failure)
        return list(found.values())

    @cached_property
    def waiting(self) -> Mapping[Ref, tuple[Failure, ...]]:
        """All failures by workload, judged by status alone."""
        found: dict[Ref, list[Failure]] = {}
        for failure in self.all():
            found.setdefault(failure.owner, []).append(failure)
        return {owner: tuple(items) for owner, items in found.items()}


def _mounted_image(pod: Pod, text: str) -> str:
    """The image of a volume, where that is what cannot be pulled; the container waits for it just the same."""
    mounted = {Image.parse(v.image.reference): v.image.reference for v in pod.spec.volumes if v.image}
    named = _NAMED_IMAGE.search(text) if mounted else None
    return mounted.get(Image.parse(named[1]), "") if named else ""


class _Judge:
    def __init__(self, failures: Failures, events: Events | None, logs: Logs | None) -> None:
        self.f = failures
        self.cluster = failures.cluster
        self.events = events
        self.logs = logs
        self._read: set[tuple[str, str, str]] = set()
        self._alike: dict[tuple[str, str, str], str] = {}  # whose log was read of those with that controller
        for log in logs.items if logs else ():
            self._read.add((log.namespace, log.container, log.pod))
            pod = failures.pods.get(log.pod, log.namespace)
            if pod and pod.owner:
                self._alike.setdefault((log.namespace, log.container, pod.owner.uid), log.pod)

    # ---- one pod

    def pod(self, pod: Pod) -> Iterator[Failure]:
        if pod.terminating or pod.phase == "Succeeded" or (pod.spec.scheduling_gates and not pod.node):
            return
        if pod.mirror and pod.namespace == "kube-system" and pod.name.startswith(_CONTROL_PLANE):
            return
        if pod.phase == "Failed" and not self._counts(pod):
            return
        owner = self.f.owners.top(pod)
        if not pod.node:
            yield from self._unscheduled(pod, owner)
            return
        found: list[Failure] = []
        blocked = False
        for status in pod.init_statuses:
            spec = pod.spec.container(status.name)
            sidecar = bool(spec and spec.sidecar)
            failure = self._container(pod, owner, status, init=True, sidecar=sidecar)
            if failure:
                found.append(failure)
                blocked = not failure.ready
                break
            if not sidecar and not (status.state.terminated and status.state.terminated.exit_code == 0):
                blocked = blocked or status.state.running is not None or status.restart_count > 0
        if not blocked:
            for status in pod.statuses:
                failure = self._container(pod, owner, status)
                if failure:
                    found.append(failure)
            if not found:
                found.extend(self._whole(pod, owner))
        yield from found

    def _counts(self, pod: Pod) -> bool:
        """Whether a pod that ended in failure still tells something: bare, or of a Job without success."""
        if pod.reason in _REJECTED or pod.reason.startswith("OutOf"):
            return False
        ended = max((s.ended.finished_at for s in pod.all_statuses if s.ended and s.ended.finished_at), default=None)
        if ended is None or self.cluster.age(ended) > 3600:
            return False
        if pod.owner is None:
            return not any(c.stdin for c in pod.spec.containers)  # a person's own shell, and it is over
        job = self.f.jobs.get(pod.owner.name, pod.namespace) if pod.owner.kind == "Job" else None
        if job is None or job.status.succeeded:
            return False
        cron = job.controller
        for other in self.f.jobs.within(pod.namespace) if cron else ():
            later = other.status.completion_time
            if later and later > ended and other.controller and cron and other.controller.uid == cron.uid:
                return False
        return True

    def _unscheduled(self, pod: Pod, owner: Ref) -> Iterator[Failure]:
        seen = pod.condition("PodScheduled")
        if self.cluster.age(pod.created) < 60 or gives_way(pod):
            return
        if self.events and self.events.node_coming(pod.ref(), self.cluster.taken):
            return
        event = self.events.latest(pod.ref(), "FailedScheduling") if self.events and not seen else None
        text = seen.message if seen else event.message if event else "the scheduler has not looked at it"
        yield Failure(pod=pod, owner=owner, fault=Fault.UNSCHEDULED, text=text, reason="Pending", since=pod.created)

    def _whole(self, pod: Pod, owner: Ref) -> Iterator[Failure]:
        waits = [s for s in pod.all_statuses if s.state.waiting]
        age = self.cluster.age(pod.started or begun(pod))
        if waits or not (pod.statuses or pod.init_statuses):
            failure = self._volume(pod, owner, age)
            if failure:
                yield failure
            elif not any(s.state.running for s in pod.init_statuses):
                event = self._event(pod.ref(), "FailedCreatePodSandBox", "FailedMount", "FailedAttachVolume", "Failed")
                sandbox = pod.condition("PodReadyToStartContainers")
                # Without a complaint it may as well be pulling a large image.
                if age < (NORMAL_START if event or (sandbox and sandbox.status == "False") else ROLLOUT):
                    return
                reason = waits[0].state.waiting.reason if waits and waits[0].state.waiting else "Pending"
                yield Failure(
                    pod=pod,
                    owner=owner,
                    fault=Fault.CREATING,
                    text=event.message if event else "",
                    reason=reason,
                    since=pod.started or pod.created,
                )
            return
        ready = pod.condition("Ready")
        if ready is None or ready.status == "True" or pod.finished or not all(s.ready for s in pod.statuses):
            return
        age = self.cluster.age(ready.last_transition_time)
        gated = ready.reason == "ReadinessGatesNotReady"
        if age > (300 if gated else 30):
            yield Failure(
                pod=pod,
                owner=owner,
                fault=Fault.GATE if gated else Fault.NODE_SILENT,
                text=ready.message,
                reason=ready.reason or "NotReady",
                since=ready.last_transition_time,
            )

    def _volume(self, pod: Pod, owner: Ref, age: float) -> Failure | None:
        event = self._event(pod.ref(), "FailedMount")
        if event is None or age < 5:
            return None
        text = event.message
        fault, name, key = self._reference(pod, text)
        if fault is None:
            return None
        return Failure(
            pod=pod,
            owner=owner,
            fault=fault,
            text=text,
            about=name,
            key=key,
            reason="ContainerCreating",
            since=pod.started or pod.created,
        )

    def _reference(self, pod: Pod, text: str) -> tuple[Fault | None, str, str]:
        if match := _MISSING.search(text):
            kind = Fault.CONFIGMAP_MISSING if match["kind"] == "configmap" else Fault.SECRET_MISSING
            return kind, match["name"], ""
        if match := _KEY.search(text):
            return Fault.KEY_MISSING, f"{match['kind']} {match['name']}", match["key"]
        if match := _VOLUME_KEY.search(text):
            volume = _VOLUME.search(text)
            kind_ = "Secret" if match["kind"] == "secret" else "ConfigMap"
            name = self._volume_source(pod, volume["volume"] if volume else "", kind_, match["key"])
            return Fault.KEY_MISSING, f"{kind_} {name}".strip(), match["key"].rstrip(",;")
        return None, "", ""

    def _volume_source(self, pod: Pod, volume: str, kind: str, key: str) -> str:
        for v in pod.spec.volumes:
            if v.name != volume:
                continue
            if kind == "Secret" and v.secret:
                return v.secret.secret_name
            if kind == "ConfigMap" and v.config_map:
                return v.config_map.name
            for source in v.projected.sources if v.projected else ():
                part = source.secret if kind == "Secret" else source.config_map
                if part and any(item.key == key for item in part.items):
                    return part.name
        return ""

    # ---- one container

    def _container(
        self, pod: Pod, owner: Ref, status: ContainerStatus, *, init: bool = False, sidecar: bool = False
    ) -> Failure | None:
        state = status.state
        if state.waiting:
            made = self._waiting(pod, status, init=init and not sidecar)
        elif state.terminated:
            made = self._terminated(pod, status, state.terminated, init=init, sidecar=sidecar)
        elif state.running:
            made = self._running(pod, status, init=init and not sidecar)
        else:
            made = None
        if made is None:
            return None
        fault, text, about, key, reason, end, log, previous, since = made
        return Failure(
            pod=pod,
            owner=owner,
            fault=fault,
            container=status.name,
            init=init and not sidecar,
            text=text,
            about=about,
            key=key,
            reason=reason,
            end=end,
            restarts=status.restart_count,
            ready=status.ready,
            log=log,
            previous=previous,
            since=since,
        )

    def _waiting(self, pod: Pod, status: ContainerStatus, *, init: bool) -> _Made | None:
        waiting = status.state.waiting
        assert waiting  # noqa: S101
        reason, text = waiting.reason, waiting.message
        since = pod.started or pod.created
        if reason == "InvalidImageName":
            return _made(Fault.IMAGE_NAME_INVALID, text, reason, since=since)
        if reason == "ErrImageNeverPull":
            return _made(Fault.IMAGE_NEVER_PULLED, text, reason, since=since)
        if reason in _PULL or reason.startswith("ErrImage"):
            return self._image(pod, status, reason, text)
        if reason in _CONFIG:
            return self._config(pod, reason, text, since)
        end = status.last_state.terminated
        if reason in _START:
            if end is not None and end.message and not text:
                text = end.message
            return self._start(reason, text, end)
        if reason == "PostStartHookError" or reason.startswith("PostStart"):
            return _made(Fault.POST_START, text, reason, end=end, since=since)
        if reason == "CrashLoopBackOff" and end is not None and not end.exit_code:
            # Its image was changed while it ran, and cannot be pulled: the kubelet's pause is all that the status says.
            event = self._container_event(pod, status.name, "Failed", containing="Failed to pull image")
            if event and event.when and end.finished_at and event.when > end.finished_at:
                return self._image(pod, status, "ErrImagePull", event.message)
        if reason == "CrashLoopBackOff" and end is not None:
            return self._ended(pod, status, end, reason, init=init, previous=True)
        if reason == "CrashLoopBackOff":
            return _made(Fault.CRASH, text, reason, since=since)
        return None  # ContainerCreating, PodInitializing: the pod as a whole says more

    def _image(self, pod: Pod, status: ContainerStatus, reason: str, text: str) -> _Made:
        if "pull" not in text.lower().replace("back-off pulling image", "") and ": " not in text:
            event = self._container_event(pod, status.name, "Failed", containing="Failed to pull image")
            text = event.message if event else text
        since = pod.started or pod.created
        image = _mounted_image(pod, text) or (pod.spec.container(status.name) or Container()).image or status.image
        body = text.replace(image, "…")
        fault = _image_fault(body)
        official = "/" not in image or re.match(r"(?:docker\.io/)?library/", image)
        if fault is Fault.IMAGE_DENIED and official and "repository does not exist" in text:
            fault = Fault.IMAGE_NOT_FOUND  # the official images of Docker Hub are all public
        return _made(fault, text, reason, about=image, since=since)

    def _config(self, pod: Pod, reason: str, text: str, since: datetime | None) -> _Made:
        fault, name, key = self._reference(pod, text)
        if fault is not None:
            return _made(fault, text, reason, about=name, key=key, since=since)
        if _ROOT.search(text):
            return _made(Fault.RUNS_AS_ROOT, text, reason, since=since)
        return _made(Fault.CONFIG_OTHER, text, reason, since=since)

    def _start(self, reason: str, text: str, end: Terminated | None) -> _Made:
        since = end.finished_at if end else None
        if "OOM-killed" in text or "oom-kill" in text.lower():
            return _made(Fault.OUT_OF_MEMORY, text, reason, end=end, since=since)
        if _ARCH.search(text):
            return _made(Fault.WRONG_ARCHITECTURE, text, reason, end=end, since=since)
        if match := _EXEC.search(text):
            command = match["command"].replace('\\"', '"')
            return _made(Fault.COMMAND_NOT_FOUND, text, reason, about=command, key=match["why"], end=end, since=since)
        if "no command specified" in text:
            return _made(Fault.COMMAND_NOT_FOUND, text, reason, key="no command specified", end=end, since=since)
        if _MOUNT.search(text):
            return _made(Fault.MOUNT_FAILS, text, reason, end=end, since=since)
        return _made(Fault.CRASH, text, reason, end=end, since=since)

    def _terminated(
        self, pod: Pod, status: ContainerStatus, end: Terminated, *, init: bool, sidecar: bool
    ) -> _Made | None:
        always = pod.spec.restart_policy == "Always" or sidecar
        if end.exit_code == 0 and (not always or (init and not sidecar)):
            return None
        definite = status.restart_count > 0 or end.reason in ("OOMKilled", "StartError", "ContainerCannotRun")
        if not definite and not pod.finished:
            return None  # the first end: the kubelet has not even tried again
        made = self._ended(pod, status, end, end.reason or "Error", init=init and not sidecar, previous=False)
        job = pod.owner is not None and pod.owner.kind == "Job"
        if pod.finished and job and made.fault in (Fault.CRASH, Fault.INIT_FAILS):
            return None  # the Job's own check says so, with the log
        return made

    def _running(self, pod: Pod, status: ContainerStatus, *, init: bool) -> _Made | None:
        running = status.state.running
        assert running  # noqa: S101
        up = self.cluster.age(running.started_at)
        end = status.last_state.terminated
        if (
            end is not None
            and end.finished_at
            and (self._returns(status, end, up) or self._killed_at_start(pod, status))
        ):
            return self._ended(pod, status, end, "Running", init=init, previous=True)
        if init:
            return self._init_waits(pod, status, up)
        if status.ready:
            return None
        return self._unready(pod, status)

    def _killed_at_start(self, pod: Pod, status: ContainerStatus) -> bool:
        """Whether its startup probe has ended the run before, and not let this one through yet."""
        spec = pod.spec.container(status.name)
        if spec is None or spec.startup_probe is None or status.started is True:
            return False
        return self._container_event(pod, status.name, "Killing", containing="failed startup probe") is not None

    def _returns(self, status: ContainerStatus, end: Terminated, up: float) -> bool:
        """Whether a container that runs just now is between two ends of the same kind."""
        ago = self.cluster.age(end.finished_at)
        if end.reason == "OOMKilled":
            return ago < 3600 and (status.ready or up < NORMAL_START)
        if end.exit_code == 255 and end.reason == "Unknown":
            return False  # the node was restarted
        ran = lived(end)
        if ago > 600 or up > max(60.0, 2 * ran if ran < 86400 else 0.0):
            return False
        proven = status.ready and up >= _JUST_STARTED
        return status.restart_count >= (3 if proven else 2)

    def _unready(self, pod: Pod, status: ContainerStatus) -> _Made | None:
        spec = pod.spec.container(status.name)
        if spec is None:
            return None
        condition = pod.condition("ContainersReady")
        since = status.state.running.started_at if status.state.running else None
        if condition and condition.last_transition_time and (since is None or condition.last_transition_time > since):
            since = condition.last_transition_time
        unready = self.cluster.age(since)
        startup = spec.startup_probe
        if startup and status.started is not True:
            return self._unstarted(pod, status, unready, since)
        probe = spec.readiness_probe
        if probe is None:
            return None
        event = self._container_event(pod, status.name, "Unhealthy", containing="Readiness probe")
        text = event.message.strip() if event else ""
        budget = float(
            probe.initial_delay_seconds + probe.period_seconds * probe.failure_threshold + probe.timeout_seconds
        )
        port, _ = wrong_port(probe, spec)
        definite = port == -1 or "statuscode: 404" in text or "errored" in text or "executable file not found" in text
        definite = definite or "gave HTTP response to HTTPS" in text or "malformed HTTP" in text
        definite = definite or (bool(host := other_host(probe, on_node=pod.spec.host_network)) and f"//{host}" in text)
        rolling = self._rolling(pod)
        if definite:
            wait = DEFINITE_START
        elif port:  # the port is not declared: it mostly is wrong, and now and then a health port of its own
            wait = NORMAL_START if rolling else NORMAL_START / 2
        else:
            wait = _NEW_REVISION if rolling else NORMAL_START
        log = self._log(pod, status.name, previous=False)
        if "connection refused" in text and self._elsewhere(probe, spec, log):
            # One that declares the port may be on its way to it: its metrics answer before it does.
            heard = [m[0] for line in log if (m := LISTENS.search(line.text))]
            declared = any(p.container_port == spec.port_number(probe.port or 0) for p in spec.ports)
            if not declared or any(map(LOOPBACK.search, heard)):
                wait = DEFINITE_START
            elif any(map(_OPENED.search, heard)):
                wait = min(wait, _OTHER_PORT_FIRST)
        if probe.grpc and "failed to connect service" in text and self._listens(probe, log):
            wait = DEFINITE_START
        if probe.initial_delay_seconds > ROLLOUT:
            budget = 0.0  # nobody waits so long: a rollout has failed by then
        if unready < max(wait, budget) or (waits_for_lead(log) and self._led(pod)):
            return None
        return _made(Fault.READINESS, text, "Running, not ready", log=log, since=since)

    def _unstarted(self, pod: Pod, status: ContainerStatus, up: float, since: datetime | None) -> _Made | None:
        """It has its probe's whole budget; then the kubelet kills it. A probe that cannot run never comes so far."""
        event = self._container_event(pod, status.name, "Unhealthy", containing="Startup probe errored")
        if event is None or up < DEFINITE_START or self.cluster.age(event.when) > ROLLOUT:
            return None
        log = self._log(pod, status.name, previous=False)
        return _made(Fault.STARTUP, event.message.strip(), "Running, not started", log=log, since=since)

    def _elsewhere(self, probe: Probe, spec: Container, log: tuple[LogLine, ...]) -> bool:
        """Whether it has said for a while where it listens, and that is not where the probe asks."""
        number = spec.port_number(probe.port) if probe.port is not None else None
        found = [(m, line.when) for line in log if (m := LISTENS.search(line.text))]
        if number is None or not found or any(self.cluster.age(when) < _SETTLED for _, when in found):
            return False
        if all(int(m["port"]) == number and LOOPBACK.search(m[0]) for m, _ in found):
            return True  # inside its pod alone
        return all(int(m["port"]) != number for m, _ in found)

    def _listens(self, probe: Probe, log: tuple[LogLine, ...]) -> bool:
        """Whether it has said for a while that it listens where the probe asks: then it does not speak gRPC."""
        heard = [line.when for line in log if (m := LISTENS.search(line.text)) and int(m["port"]) == probe.port]
        return bool(heard) and all(self.cluster.age(when) >= _SETTLED for when in heard)

    def _led(self, pod: Pod) -> bool:
        """Whether another pod of the same template is ready: where one leads, the others may be unready by design."""
        return pod.owner is not None and pod.owner.uid in self._leading

    @cached_property
    def _leading(self) -> frozenset[str]:
        return frozenset(p.owner.uid for p in self.f.pods.items if p.owner and p.ready and not p.terminating)

    def _rolling(self, pod: Pod) -> bool:
        """Whether pods of another revision of the same workload still serve: then a start may take its time."""
        if not pod.template_hash or self.cluster.age(pod.created) > ROLLOUT:
            return False
        return any(one != pod.template_hash for one in self._serving.get(self.f.owners.top(pod), ()))

    @cached_property
    def _serving(self) -> Mapping[Ref, set[str]]:
        """The revisions that have a ready pod, by workload."""
        found: dict[Ref, set[str]] = {}
        for pod in self.f.pods.items:
            if pod.ready:
                found.setdefault(self.f.owners.top(pod), set()).add(pod.template_hash)
        return found

    def _init_waits(self, pod: Pod, status: ContainerStatus, up: float) -> _Made | None:
        spec = pod.spec.container(status.name)
        if spec is None:
            return None
        log = self._log(pod, status.name, previous=False)
        command = " ".join((*spec.command, *spec.args))
        waits = bool(_WAITING.search(command)) or sum(bool(_REFUSED.search(line.text)) for line in log) >= 3
        if up < (60 if waits else ROLLOUT) or waits_for_work(pod, self.f.jobs):
            return None
        since = status.state.running.started_at if status.state.running else None
        return _made(Fault.INIT_WAITS, telling(log), "Init, running", log=log, since=since)

    # ---- how a container ended

    def _ended(
        self, pod: Pod, status: ContainerStatus, end: Terminated, reason: str, *, init: bool, previous: bool
    ) -> _Made:
        log = self._log(pod, status.name, previous=previous)
        since = end.finished_at

        def made(fault: Fault, text: str = "", about: str = "", key: str = "") -> _Made:
            return _made(fault, text, reason, about=about, key=key, end=end, log=log, previous=previous, since=since)

        if end.reason == "OOMKilled":
            return made(Fault.OUT_OF_MEMORY)
        if end.reason in ("StartError", "ContainerCannotRun") or (end.exit_code == 128 and end.message):
            start = self._start(reason, end.message, end)
            return made(start.fault, start.text, start.about, start.key)
        if killed := self._killed(pod, status, end):
            fault, text = killed
            return made(fault, text)
        tail = log[-20:]
        for line in reversed(tail):
            if _ARCH.search(line.text):
                return made(Fault.WRONG_ARCHITECTURE, line.text)
        if tail and (match := _INTERPRETER.search(tail[-1].text)):
            return made(Fault.COMMAND_NOT_FOUND, tail[-1].text, match["command"], "interpreter")
        if end.exit_code in (126, 127):
            for line in reversed(tail):
                if (match := _SHELL.search(line.text)) and "shared librar" not in line.text:
                    command = match["command"] or match["script"] or match["tini"] or ""
                    return made(Fault.COMMAND_NOT_FOUND, line.text, command, match["why"] or "")
        spec = pod.spec.container(status.name)
        if end.exit_code:
            for line in reversed(tail):
                if _IN_USE.search(line.text):
                    port = _PORT.search(line.text)
                    return made(Fault.PORT_IN_USE, line.text, port["port"] if port else "")
            for line in reversed(tail):
                if spec and _DENIED.search(line.text) and (path := _mounted(line.text, spec)):
                    return made(Fault.PERMISSION_DENIED, line.text, path)
        if init:
            return made(Fault.INIT_FAILS, telling(log) or end.message.strip())
        blind = self.events is None or (bool(self.events.gaps) and not self.events.about(pod.ref()))
        stopped = blind and spec is not None and bool(spec.liveness_probe or spec.startup_probe)
        if end.exit_code == 0 and not stopped:  # without events nobody can say whether a probe stopped it
            return made(Fault.CLEAN_EXIT, telling(log))
        return made(Fault.CRASH, telling(log) or end.message.strip())

    def _killed(self, pod: Pod, status: ContainerStatus, end: Terminated) -> tuple[Fault, str] | None:
        """Whether the kubelet ended it itself: it says so in an event about the container."""
        for event in self._container_events(pod, status.name, "Killing", "FailedPostStartHook"):
            near = (
                end.finished_at and event.when and abs((end.finished_at - event.when).total_seconds()) <= 60 + pod.grace
            )
            if not near and not (event.times >= 2 and event.times * 3 >= status.restart_count):
                continue  # the API server drops events that come too often: then their count has to do
            if "failed liveness probe" in event.message or "failed startup probe" in event.message:
                kind = "Liveness" if "liveness" in event.message else "Startup"
                seen = self._container_event(pod, status.name, "Unhealthy", containing=f"{kind} probe")
                text = seen.message.strip() if seen else event.message
                if kind == "Startup":
                    return Fault.STARTUP, text
                return (Fault.SLOW_START if self._slow(pod, status, end, text) else Fault.LIVENESS), text
            if "PostStart" in event.reason + event.message:
                return Fault.POST_START, event.message
        return None

    def _slow(self, pod: Pod, status: ContainerStatus, end: Terminated, text: str) -> bool:
        """Whether a liveness probe asks the right port, and only too early."""
        spec = pod.spec.container(status.name)
        probe = spec.liveness_probe if spec else None
        if spec is None or probe is None or spec.startup_probe or "connection refused" not in text:
            return False
        if probe.port is None or not spec.ports or wrong_port(probe, spec)[0]:
            return False
        said = [line.text for line in self._log(pod, status.name, previous=True)]
        heard = {int(m["port"]) for text in said if (m := LISTENS.search(text))}
        port = spec.port_number(probe.port)
        if other_host(probe, on_node=pod.spec.host_network):
            return False  # nobody asked it
        if (heard and port not in heard) or (port is not None and inside_alone(said, port)):
            return False  # it listens, but elsewhere
        if end.started_at and end.finished_at:
            lived = (end.finished_at - end.started_at).total_seconds()
            # Killed at the first chance: it has never answered since its start.
            return lived <= probe.budget + probe.period_seconds + pod.spec.termination_grace_period_seconds + 5
        return False

    # ---- events and logs

    def _event(self, ref: Ref, *reasons: str) -> Event | None:
        return self.events.latest(ref, *reasons) if self.events else None

    def _container_events(self, pod: Pod, container: str, *reasons: str) -> tuple[Event, ...]:
        if self.events is None:
            return ()
        paths = (f"spec.containers{{{container}}}", f"spec.initContainers{{{container}}}", "")
        return tuple(
            e
            for e in self.events.about(pod.ref(), *reasons)
            if e.involved_object.field_path in paths and not (pod.created and e.when and e.when < pod.created)
        )

    def _container_event(self, pod: Pod, container: str, *reasons: str, containing: str = "") -> Event | None:
        return next((e for e in self._container_events(pod, container, *reasons) if containing in e.message), None)

    def _log(self, pod: Pod, container: str, *, previous: bool) -> tuple[LogLine, ...]:
        """The log of that run; of another pod of the same workload where this one's was not read."""
        if self.logs is None:
            return ()
        name = pod.name
        if (pod.namespace, container, name) not in self._read:
            name = self._alike.get((pod.namespace, container, pod.owner.uid), "") if pod.owner else ""
        logs = self.logs.of(pod.namespace, name, container) if name else ()
        for log in sorted(logs, key=lambda one: one.previous is not previous):
            if log.lines:
                return log.lines
        return ()


@lru_cache(maxsize=1024)
def _image_fault(text: str) -> Fault:
    """What a message says, the image's name taken out of it: a registry refuses thousands in the same words."""
    return next((fault for fault, pattern in _IMAGE if pattern.search(text)), Fault.IMAGE_OTHER)


class _Made(NamedTuple):
    fault: Fault
    text: str
    about: str
    key: str
    reason: str
    end: Terminated | None
    log: tuple[LogLine, ...]
    previous: bool
    since: datetime | None


def _made(
    fault: Fault,
    text: str,
    reason: str,
    *,
    about: str = "",
    key: str = "",
    end: Terminated | None = None,
    log: tuple[LogLine, ...] = (),
    previous: bool = False,
    since: datetime | None = None,
) -> _Made:
    return _Made(fault, text, about, key, reason, end, log, previous, since)


def _mounted(text: str, container: Container) -> str:
    """The mount of the container that a line of its log names a path of; ``/`` for a read-only root."""
    for mount in sorted(container.volume_mounts, key=lambda m: -len(m.mount_path)):
        path = mount.mount_path.rstrip("/")
        if (
            path
            and not path.startswith("/var/run/secrets/kubernetes.io")
            and re.search(rf"{re.escape(path)}(?![\w-])", text)
        ):
            return mount.mount_path
    read_only = re.search(r"read-only file ?system|EROFS", text, re.IGNORECASE)
    return "/" if read_only and container.security_context.read_only_root_filesystem else ""
