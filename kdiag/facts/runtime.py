"""The container runtime on the nodes: whether it answers, how it is configured, and what runs in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kdiag.facts.base import NodeCommand, NodeFollow
from kdiag.facts.cluster import Cluster
from kdiag.facts.hosts import Answer, HostFact, answer, plain_path
from kdiag.facts.logs import LogLine, whole_messages
from kdiag.facts.nodefiles import CONTAINERD as CONTAINERD
from kdiag.facts.nodefiles import READ_CONTAINERD
from kdiag.facts.system import COMPONENTS
from kdiag.model.jsontext import first_object, read_object
from kdiag.model.redact import RUN

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)?(Z|[+-]\d\d:?\d\d)")
_NANOSECONDS = 10**9


def moment(value: object) -> datetime | None:
    """A time as a runtime writes it: nanoseconds since 1970 or RFC 3339; None for zero and for what is neither."""
    text = str(value or "").strip()
    try:
        if re.fullmatch(r"\d{1,22}", text):
            seconds = int(text) / (_NANOSECONDS if len(text) > 12 else 1)
            return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
        match = _STAMP.match(text)
        if not match:
            return None
        when = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00"))
        when = when.replace(microsecond=int((match[2] or "0").ljust(6, "0"))).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return when if when.year > 1970 else None


# What runs


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLog:
    """The last lines of one log file of a container. ``attempt`` is the number in its name."""

    path: str
    namespace: str
    pod: str
    uid: str
    container: str
    attempt: int = 0
    written: datetime | None = None
    size: int = 0
    lines: tuple[LogLine, ...] = ()

    @property
    def read(self) -> bool:
        """Whether its lines were asked for and came."""
        return bool(self.lines) or self.size == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostContainer:
    """One container as the runtime lists it. Exit code, reason and times are known where it was looked at closer."""

    id: str
    name: str
    pod: str
    namespace: str
    uid: str = ""
    state: str = ""  # running, exited, created, unknown
    attempt: int = 0
    image: str = ""
    created: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    exit_code: int | None = None
    reason: str = ""
    message: str = ""

    @property
    def running(self) -> bool:
        """Whether it runs at this moment."""
        return self.state == "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """One pod as the runtime knows it."""

    id: str
    name: str
    namespace: str
    uid: str = ""
    ready: bool = False
    attempt: int = 0
    created: datetime | None = None
    source: str = ""  # file for a static pod, api for the others


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeContainers:
    """What one node's runtime runs and ran, and what the system's containers wrote last.

    ``error`` is what the runtime said in place of a list: then ``containers`` is empty and says nothing, while the
    log files were read all the same.
    """

    containers: tuple[HostContainer, ...] = ()
    sandboxes: tuple[Sandbox, ...] = ()
    logs: tuple[HostLog, ...] = ()
    error: str = ""

    @property
    def listed(self) -> bool:
        """Whether the runtime gave its list: only then is what is not in it not there."""
        return not self.error

    def of(self, container: str, namespace: str = "kube-system") -> tuple[HostContainer, ...]:
        """The containers of that name, of the highest attempt first; those of a pod that was made anew come first."""
        found = [c for c in self.containers if c.name == container and c.namespace == namespace]
        oldest = datetime.fromtimestamp(0, UTC)
        return tuple(sorted(found, key=lambda c: (c.created or oldest, c.attempt), reverse=True))

    def log(self, container: str, namespace: str = "kube-system") -> tuple[HostLog, ...]:
        """The log files of the containers of that name, the one written last first."""
        found = [g for g in self.logs if g.container == container and g.namespace == namespace]
        oldest = datetime.fromtimestamp(0, UTC)
        return tuple(sorted(found, key=lambda g: (g.written or oldest, g.attempt), reverse=True))


def current(containers: NodeContainers | None, name: str) -> HostContainer | None:
    """The container of a component that runs now, or ran last."""
    found = containers.of(name) if containers and containers.listed else ()
    return next((c for c in found if c.running), found[0] if found else None)


def current_log(containers: NodeContainers, name: str) -> HostLog | None:
    """The log of that container."""
    live = current(containers, name)
    logs = containers.log(name) if live else ()
    return next((g for g in logs if live and (g.uid, g.attempt) == (live.uid, live.attempt)), None)


def said_lately(
    log: HostLog | None, pattern: re.Pattern[str], cluster: Cluster, seconds: float
) -> list[tuple[LogLine, re.Match[str]]]:
    """The lines of a log that hold the pattern and are no older than that."""
    lines = (x for x in (log.lines if log else ()) if x.when and cluster.age(x.when) < seconds)
    return [(x, match) for x in lines if (match := pattern.search(x.text))]


_LOG_PATH = re.compile(
    r"/var/log/pods/(?P<namespace>[a-z0-9.-]+)_(?P<pod>[a-z0-9.-]+)_(?P<uid>[A-Za-z0-9-]+)/(?P<container>[a-z0-9.-]+)/"
    r"(?P<attempt>\d+)\.log"
)
_TAIL = 60
_MOST_LOGS = 24
_MOST_INSPECTED = 8


class Containers(HostFact[NodeContainers]):
    """The containers of each node, without the API server: of the system's also their logs and how they ended."""

    sources = (
        NodeCommand(
            "containers", ("crictl", "ps", "-a", "-o", "json"), sudo=True, seconds=8, limit=4_194_304, answers=(0, 1)
        ),
        NodeCommand(
            "sandboxes", ("crictl", "pods", "-o", "json"), sudo=True, seconds=8, limit=4_194_304, answers=(0, 1)
        ),
        NodeCommand(
            "pod-logs",
            (
                *("find", "/var/log/pods", "-maxdepth", "3", "-path", "/var/log/pods/kube-*", "-name", "*.log"),
                *("-printf", r"%T@ %s %p\n"),
            ),
            sudo=True,
            limit=524_288,
        ),
        NodeFollow("pod-log"),
        NodeFollow("container"),
    )

    @staticmethod
    def follow(node: str, answers: tuple[Answer, ...]) -> Iterable[NodeCommand]:
        """The ends of the system's logs, and how its containers ended."""
        for log in _wanted(_log_files(answer(answers, "pod-logs"))):
            yield NodeCommand(
                "pod-log", ("tail", "-n", str(_TAIL), log.path), sudo=True, name=log.path, limit=131_072, seconds=3
            )
        containers, _ = _containers(answer(answers, "containers"))
        left = _MOST_INSPECTED
        for part in COMPONENTS:
            mine = NodeContainers(containers=containers).of(part)
            ended = [c for c in mine if not c.running][:1]
            for one in dict.fromkeys([*mine[:1], *ended]):
                if left and re.fullmatch(r"[0-9a-f]{12,64}", one.id):
                    left -= 1
                    yield NodeCommand(
                        "container", ("crictl", "inspect", "-o", "json", one.id), sudo=True, name=one.id, answers=(0, 1)
                    )

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> NodeContainers:
        """The runtime's lists, with what the follow-up told."""
        containers, error = _containers(answer(answers, "containers"))
        sandboxes, other = _sandboxes(answer(answers, "sandboxes"))
        told = {a.name: a for a in answers if a.key == "container" and not a.error}
        containers = tuple(_with_end(c, told[c.id].text) if c.id in told else c for c in containers)
        # A file that went away between the two rounds is absent, and its text is what tail says of that.
        tails = {a.name: a.text for a in answers if a.key == "pod-log" and not a.absent}
        logs = tuple(_with_lines(g, tails.get(g.path)) for g in _log_files(answer(answers, "pod-logs")))
        lost = next((a.error for a in answers if a.key == "containers" and a.error), "")
        return NodeContainers(
            containers=containers,
            sandboxes=sandboxes,
            logs=logs,
            error=lost or error or (other if not containers else ""),
        )


def _records(text: str, key: str) -> tuple[list[dict[str, Any]], str]:
    """The items of crictl's JSON, or what it said instead."""
    document = first_object(text)
    if document is None:
        return [], _said(text) or "no answer"
    items = document.get(key) or []
    return [i for i in items if isinstance(i, dict)] if isinstance(items, list) else [], ""


def _said(text: str) -> str:
    """The line in which crictl says what failed, without its log header."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    best = next((x for x in reversed(lines) if re.search(r"fata|error|rpc|fail|refused", x, re.IGNORECASE)), "")
    best = best or (lines[-1] if lines else "")
    found = re.search(r'msg="((?:[^"\\]|\\.)*)"', best)
    text = found[1].replace('\\"', '"') if found else re.sub(r"^[A-Z]+\[\d+\] ", "", best)
    return text[:600]


def _containers(text: str) -> tuple[tuple[HostContainer, ...], str]:
    items, error = _records(text, "containers")
    return tuple(_container(i) for i in items), error


def _container(item: Mapping[str, Any]) -> HostContainer:
    labels, meta, image = _mapping(item, "labels"), _mapping(item, "metadata"), _mapping(item, "image")
    return HostContainer(
        id=_text(item.get("id")),
        name=_text(labels.get("io.kubernetes.container.name") or meta.get("name")),
        pod=_text(labels.get("io.kubernetes.pod.name")),
        namespace=_text(labels.get("io.kubernetes.pod.namespace")),
        uid=_text(labels.get("io.kubernetes.pod.uid")),
        state=_text(item.get("state")).removeprefix("CONTAINER_").lower(),
        attempt=_int(meta.get("attempt")) or 0,
        image=_text(image.get("userSpecifiedImage") or image.get("image") or item.get("imageRef")),
        created=moment(item.get("createdAt")),
    )


def _with_end(container: HostContainer, text: str) -> HostContainer:
    import dataclasses

    document = first_object(text)
    if document is None:
        return container
    status = _mapping(document, "status")
    code = _int(status.get("exitCode"))
    state = _text(status.get("state")).removeprefix("CONTAINER_").lower() or container.state
    return dataclasses.replace(
        container,
        state=state,
        started=moment(status.get("startedAt")),
        finished=moment(status.get("finishedAt")),
        exit_code=code if state == "exited" else None,
        reason=_text(status.get("reason")),
        message=RUN.text(_text(status.get("message")))[:1000],
        image=_text(_mapping(status, "image").get("image")) or container.image,
    )


def _sandboxes(text: str) -> tuple[tuple[Sandbox, ...], str]:
    items, error = _records(text, "items")
    return tuple(
        Sandbox(
            id=_text(i.get("id")),
            name=_text(_mapping(i, "metadata").get("name")),
            namespace=_text(_mapping(i, "metadata").get("namespace")),
            uid=_text(_mapping(i, "metadata").get("uid")),
            ready=i.get("state") == "SANDBOX_READY",
            attempt=_int(_mapping(i, "metadata").get("attempt")) or 0,
            created=moment(i.get("createdAt")),
            source=_text(_mapping(i, "annotations").get("kubernetes.io/config.source")),
        )
        for i in items
    ), error


def _mapping(item: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = item.get(key)
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _int(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value) else None


def _log_files(text: str) -> list[HostLog]:
    found: list[HostLog] = []
    for line in text.splitlines():
        stamp, _, rest = line.partition(" ")
        size, _, path = rest.partition(" ")
        match = _LOG_PATH.fullmatch(path)
        if match and size.isdigit():
            found.append(
                HostLog(
                    path=path,
                    namespace=match["namespace"],
                    pod=match["pod"],
                    uid=match["uid"],
                    container=match["container"],
                    attempt=min(int(match["attempt"][:9]), 10**8),
                    written=moment(stamp.partition(".")[0]),
                    size=int(size[:18]),
                )
            )
    return found


def _wanted(logs: list[HostLog]) -> Iterator[HostLog]:
    """The newest two of each part of the control plane, the newest of every other container of the system."""
    groups: dict[tuple[bool, str, str, str], list[HostLog]] = {}
    for log in logs:
        ours = log.namespace == "kube-system" and log.container in COMPONENTS
        pod = "" if ours else log.pod
        groups.setdefault((not ours, log.namespace, log.container, pod), []).append(log)
    left = _MOST_LOGS
    for (other, *_), group in sorted(groups.items()):
        group.sort(key=lambda g: (g.written.timestamp() if g.written else 0.0, g.attempt), reverse=True)
        for log in group[: 1 if other else 2]:
            if left and plain_path(log.path):
                left -= 1
                yield log


def _with_lines(log: HostLog, text: str | None) -> HostLog:
    import dataclasses

    return log if text is None else dataclasses.replace(log, lines=log_lines(text))


def log_lines(text: str) -> tuple[LogLine, ...]:
    """Lines of a container's log file, as CRI runtimes (``time stream F text``) or Docker (JSON) write it."""
    found: list[LogLine] = []
    pending = ""
    for raw in text.splitlines():
        stamp, _, rest = raw.partition(" ")
        stream, _, rest = rest.partition(" ")
        tag, _, said = rest.partition(" ")
        when = moment(stamp)
        if when is not None and stream in ("stdout", "stderr") and tag[:1] in ("F", "P"):
            pending += said
            if tag[:1] == "P" and len(pending) < 16_384:
                continue
            found.append(LogLine(RUN.text(pending)[:4000], when))
            pending = ""
            continue
        record = read_object(raw) if raw.startswith('{"log"') else {}
        if record:
            found.append(LogLine(RUN.text(_text(record.get("log")).rstrip("\n"))[:4000], moment(record.get("time"))))
        elif raw.strip():
            found.append(LogLine(RUN.text(raw)[:4000]))
    if pending:
        found.append(LogLine(RUN.text(pending)[:4000]))
    return whole_messages(found)


# Whether it answers


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeAnswer:
    """What the runtime said when it was asked as the kubelet asks it; ``error`` is what came instead."""

    name: str = ""
    version: str = ""
    api: str = ""
    conditions: Mapping[str, tuple[bool, str, str]] = field(default_factory=dict)  # type → status, reason, message
    systemd_cgroup: bool | None = None
    sandbox_image: str = ""
    error: str = ""

    @property
    def unimplemented(self) -> bool:
        """Whether something answers at the socket, and it is no CRI."""
        return bool(re.search(r"Unimplemented|unknown service runtime|API is not implemented", self.error))


class RuntimeAnswers(HostFact[RuntimeAnswer]):
    """``crictl version`` and ``crictl info`` on each node."""

    sources = (
        NodeCommand("cri-version", ("crictl", "version"), sudo=True, seconds=8, limit=16_384, answers=(0, 1)),
        NodeCommand("cri-info", ("crictl", "info"), sudo=True, seconds=8, limit=262_144, answers=(0, 1)),
    )

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> RuntimeAnswer:
        """Both formats of the version (a table and JSON), the conditions, and what the runtime's settings came to."""
        version = answer(answers, "cri-version")
        fields = {k.lower(): v for k, v in re.findall(r'\b(\w{1,64})"?\s*:\s*"?([^",\n]+)"?', version)}
        info = answer(answers, "cri-info")
        document = first_object(info)
        name = fields.get("runtimename", "").strip()
        lost = next((a.error for a in answers if a.key == "cri-version" and a.error), "")
        if document is None:
            return RuntimeAnswer(
                name=name,
                version=fields.get("runtimeversion", "").strip(),
                error="" if name else lost or _said(version) or _said(info) or "no answer",
            )
        conditions = {
            _text(c.get("type")): (c.get("status") is True, _text(c.get("reason")), _text(c.get("message"))[:600])
            for c in _mapping(document, "status").get("conditions") or ()
            if isinstance(c, dict)
        }
        config = _mapping(document, "config")
        runc = _mapping(_mapping(_mapping(config, "containerd"), "runtimes"), "runc")
        systemd = _mapping(runc, "options").get("SystemdCgroup")
        return RuntimeAnswer(
            name=name,
            version=fields.get("runtimeversion", "").strip(),
            api=fields.get("runtimeapiversion", "").strip(),
            conditions=conditions,
            systemd_cgroup=systemd if isinstance(systemd, bool) else None,
            sandbox_image=_text(config.get("sandboxImage")),
            error="" if name or conditions else lost or _said(version),
        )


# How it is configured

_CRIO = ("/etc/crio/crio.conf", "/etc/crio/crio.conf.d/10-crio.conf", "/etc/crio/crio.conf.d/02-cgroup-manager.conf")
_SOCKETS = (
    "/run/containerd/containerd.sock",
    "/var/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/var/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
    "/var/run/cri-dockerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/var/run/dockershim.sock",
    "/run/docker.sock",
)
_CRI_PLUGINS = ("cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeConfig:
    """What the runtime's configuration files say; None and empty where they say nothing."""

    containerd: bool = False  # whether containerd's file is there
    fault: str = ""  # why it is no TOML
    fault_line: int = 0
    version: int = 1
    disabled: tuple[str, ...] = ()
    disabled_line: int = 0
    systemd_cgroup: bool | None = None
    systemd_cgroup_line: int = 0
    sandbox_image: str = ""
    sandbox_image_line: int = 0
    cni_bin: str = ""
    cni_conf: str = ""
    address: str = ""
    address_line: int = 0
    root: str = ""  # where containerd keeps images and containers; empty for its default
    root_line: int = 0
    imports: tuple[str, ...] = ()
    named: tuple[tuple[str, str, int], ...] = ()  # settings that name a part or a place: name, value, line
    crio: bool = False
    crio_cgroup_manager: str = ""
    crio_pause_image: str = ""
    crictl_endpoint: str = ""
    sockets: tuple[str, ...] = ()  # of those that runtimes use, the ones that are there
    sockets_read: bool = False

    @property
    def cri_disabled(self) -> tuple[str, ...]:
        """The entries of ``disabled_plugins`` that take the kubelet's interface away."""
        return tuple(p for p in self.disabled if p in _CRI_PLUGINS)


class RuntimeConfigs(HostFact[RuntimeConfig]):
    """The configuration files of containerd, CRI-O and crictl on each node, and the runtimes' sockets."""

    sources = (
        READ_CONTAINERD,
        *(NodeCommand("crio-config", ("cat", path), sudo=True, name=path) for path in _CRIO),
        NodeCommand("crictl-config", ("cat", "/etc/crictl.yaml"), sudo=True),
        NodeCommand("cri-sockets", ("stat", "-L", "-c", "%F|%n", *_SOCKETS), sudo=True, answers=(0, 1)),
        NodeFollow("containerd-import"),
    )

    @staticmethod
    def follow(node: str, answers: tuple[Answer, ...]) -> Iterable[NodeCommand]:
        """The files that containerd's configuration takes in, where they are named without a pattern."""
        for path in _containerd(answer(answers, "containerd-config"))[0].get("imports") or ():
            if isinstance(path, str) and plain_path(path) and path != CONTAINERD:
                yield NodeCommand("containerd-import", ("cat", path), sudo=True, name=path)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> RuntimeConfig:
        """All that is read of it; what one file says in full is not kept."""
        text = answer(answers, "containerd-config")
        there = any(a.key == "containerd-config" and not a.error for a in answers)
        document, fault, fault_line = _containerd(text) if there else ({}, "", 0)
        for extra in answers:
            if extra.key == "containerd-import" and not extra.error:
                document = _merged(document, _containerd(extra.text)[0])
        crio = [a.text for a in answers if a.key == "crio-config" and not a.error]
        disabled = [p for p in document.get("disabled_plugins") or () if isinstance(p, str)]
        systemd = _found(document, "SystemdCgroup")
        image = _found(document, "sandbox_image") or _mapping(_pinned(document), "pinned_images").get("sandbox")
        sockets = answer(answers, "cri-sockets")
        endpoint = re.search(
            r"^\s*['\"]?runtime-endpoint['\"]?\s*:\s*['\"]?([^'\"\s#]+)", answer(answers, "crictl-config"), re.MULTILINE
        )
        return RuntimeConfig(
            containerd=there,
            fault=fault,
            fault_line=fault_line,
            version=_int(document.get("version")) or 1,
            disabled=tuple(disabled),
            disabled_line=line_of(text, r"\s*disabled_plugins\s*="),
            systemd_cgroup=systemd if isinstance(systemd, bool) else None,
            systemd_cgroup_line=line_of(text, r"\s*SystemdCgroup\s*="),
            sandbox_image=_text(image),
            sandbox_image_line=line_of(text, r"\s*(?:sandbox_image|sandbox)\s*="),
            cni_bin=_text(_found(document, "bin_dir")),
            cni_conf=_text(_found(document, "conf_dir")),
            address=(address := _text(_mapping(document, "grpc").get("address"))),
            address_line=line_of(text, rf"\s*address\s*=\s*[\"']{re.escape(address)}[\"']") if address else 0,
            root=_text(document.get("root")),
            root_line=line_of(text, r"\s*root\s*="),
            named=tuple((m[1], m[2], n) for n, line in enumerate(text.splitlines(), 1) if (m := _NAMING.match(line))),
            imports=tuple(p for p in document.get("imports") or () if isinstance(p, str)),
            crio=bool(crio),
            crio_cgroup_manager=_crio(crio, "cgroup_manager"),
            crio_pause_image=_crio(crio, "pause_image"),
            crictl_endpoint=endpoint[1] if endpoint else "",
            sockets=tuple(
                path for kind, _, path in (x.partition("|") for x in sockets.splitlines()) if kind == "socket"
            ),
            sockets_read=bool(sockets),
        )


_NAMING = re.compile(
    r"\s*(snapshotter|default_runtime_name|runtime_type|BinaryName|bin_dir|conf_dir|config_path|state|root)\s*=\s*"
    r"[\"']([^\"']{1,200})[\"']"
)


def line_of(text: str, pattern: str) -> int:
    """The number of the first line that begins so; 0 when none does."""
    return next((n for n, line in enumerate(text.splitlines(), 1) if re.match(pattern, line)), 0)


def _containerd(text: str) -> tuple[dict[str, Any], str, int]:
    """The document, or why it is none and where."""
    import tomllib

    try:
        return tomllib.loads(text), "", 0
    except tomllib.TOMLDecodeError as exc:
        said = str(exc)
        at = re.search(r"\(at line (\d+)", said)
        return {}, re.sub(r" \(at .*\)$", "", said), int(at[1]) if at else len(text.splitlines())
    except RecursionError:
        return {}, "nested too deep", 0


def _merged(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """containerd adds lists together and lets the later file win in the rest."""
    out = dict(base)
    for key, value in extra.items():
        mine = out.get(key)
        if isinstance(mine, dict) and isinstance(value, dict):
            out[key] = _merged(mine, value)
        elif key == "disabled_plugins" and isinstance(mine, list) and isinstance(value, list):
            out[key] = [*mine, *value]
        else:
            out[key] = value
    return out


def _cri(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The tables in which the CRI plugins are configured, in the layouts of versions 1, 2 and 3."""
    plugins = _mapping(document, "plugins")
    for name in ("io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri", "cri"):
        if isinstance(plugins.get(name), dict):
            yield plugins[name]


def _pinned(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((table for table in _cri(document) if "pinned_images" in table), {})


def _found(document: Mapping[str, Any], key: str) -> object:
    """The value of a key of the CRI plugins' tables; SystemdCgroup is that of the default runtime."""
    for table in _cri(document):
        if key == "SystemdCgroup":
            containerd = _mapping(table, "containerd")
            default = _text(containerd.get("default_runtime_name")) or "runc"
            runtime = _mapping(_mapping(containerd, "runtimes"), default)
            for options in (_mapping(runtime, "options"), table):
                value = options.get("SystemdCgroup", options.get("systemd_cgroup"))
                if isinstance(value, bool) and (value or options is not table):
                    return value
        elif key in ("bin_dir", "conf_dir"):
            cni = _mapping(table, "cni")
            dirs = cni.get("bin_dirs")
            if key == "bin_dir" and isinstance(dirs, list) and dirs:
                return dirs[0]
            if key in cni:
                return cni[key]
        elif key in table:
            return table[key]
    return None


def _crio(texts: list[str], key: str) -> str:
    found = ""
    for text in texts:
        for line in text.splitlines():
            if match := re.match(rf"\s*{key}\s*=\s*\"([^\"]*)\"", line):
                found = match[1]
    return found


# What it runs containers with

_PATH_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_PROGRAMS = ("runc", "crun", "containerd-shim-runc-v2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program on a node. ``changed`` is when it was put there or its mode was set."""

    path: str
    executable: bool = False
    size: int = 0
    changed: datetime | None = None

    @property
    def name(self) -> str:
        """Its name without the folder."""
        return self.path.rpartition("/")[2]


class RuntimePrograms(HostFact[tuple[Program, ...]]):
    """The programs with which a runtime starts and stops containers, where systemd's PATH looks for them."""

    sources = (
        NodeCommand(
            "runtime-programs",
            (
                *("find", "-L", *_PATH_FOLDERS, "-maxdepth", "1", "(", "-name", _PROGRAMS[0]),
                *(word for name in _PROGRAMS[1:] for word in ("-o", "-name", name)),
                *(")", "-printf", r"%C@ %m %s %p\n"),
            ),
            answers=(0, 1),
        ),
    )

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> tuple[Program, ...]:
        """One line for each: when it changed, its mode, its size and its path."""
        found: list[Program] = []
        for line in answer(answers, "runtime-programs").splitlines():
            match = re.fullmatch(r"(\d{1,11})\S* ([0-7]{1,4}) (\d{1,15}) (/\S+)", line)
            if match:
                found.append(
                    Program(
                        path=match[4],
                        executable=bool(int(match[2], 8) & 0o111),
                        size=int(match[3]),
                        changed=moment(match[1]),
                    )
                )
        return tuple(found)
