"""The kubelet of each node as it is set up on disk: unit, flags, configuration, kubeconfig and the files it needs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from kdiag.facts.base import NodeCommand, NodeFollow
from kdiag.facts.hosts import Answer, HostFact, answer, plain_path, safe_path
from kdiag.facts.nodefiles import (
    DROP_IN_PATH,
    KUBELET_CONFIG,
    PLACES,
    PUBLIC_PARTS,
    READ_KUBELET_CONFIG,
    READ_KUBELET_ENV,
    drop_ins,
)
from kdiag.facts.nodefiles import FLAGS_ENV as FLAGS_ENV
from kdiag.facts.podyaml import Document, YamlFault, read_yaml
from kdiag.facts.unitfaults import UnitText
from kdiag.model.quantity import Quantity
from kdiag.model.text import nearest

CONFIG = KUBELET_CONFIG
KUBECONFIG = "/etc/kubernetes/kubelet.conf"
BOOTSTRAP = "/etc/kubernetes/bootstrap-kubelet.conf"

#: As stat says it of a file of no bytes.
EMPTY = "regular empty file"

#: The fields of KubeletConfiguration v1beta1 (k8s.io/kubelet v0.36.3), by the type of their value.
_FIELDS: Mapping[str, str] = {
    "bool": """
        enableServer rotateCertificates serverTLSBootstrap enableDebuggingHandlers enableContentionProfiling
        cgroupsPerQOS singleProcessOOMKill runOnce cpuCFSQuota serializeImagePulls mergeDefaultEvictionSettings
        enableControllerAttachDetach protectKernelDefaults makeIPTablesUtilChains failSwapOn kernelMemcgNotification
        enableSystemLogHandler enableSystemLogQuery enableProfilingHandler enableDebugFlagsHandler seccompDefault
        registerNode localStorageCapacityIsolation failCgroupV1
    """,
    "str": """
        apiVersion kind staticPodPath podLogsDir staticPodURL address tlsCertFile tlsPrivateKeyFile tlsMinVersion
        healthzBindAddress clusterDomain kubeletCgroups systemCgroups cgroupRoot cgroupDriver cpuManagerPolicy
        memoryManagerPolicy topologyManagerPolicy topologyManagerScope hairpinMode podCIDR resolvConf contentType
        containerLogMaxSize reservedSystemCPUs showHiddenMetricsForVersion systemReservedCgroup kubeReservedCgroup
        volumePluginDir providerID containerRuntimeEndpoint imageServiceEndpoint
        configMapAndSecretChangeDetectionStrategy imagePullCredentialsVerificationPolicy memoryReservationPolicy
    """,
    "duration": """
        syncFrequency fileCheckFrequency httpCheckFrequency streamingConnectionIdleTimeout nodeStatusUpdateFrequency
        nodeStatusReportFrequency imageMinimumGCAge imageMaximumGCAge volumeStatsAggPeriod cpuManagerReconcilePeriod
        runtimeRequestTimeout cpuCFSQuotaPeriod evictionPressureTransitionPeriod containerLogMonitorInterval
        shutdownGracePeriod shutdownGracePeriodCriticalPods
    """,
    "dict": """
        staticPodURLHeader cpuManagerPolicyOptions topologyManagerPolicyOptions qosReserved evictionHard
        evictionSoft evictionSoftGracePeriod evictionMinimumReclaim featureGates systemReserved kubeReserved
        authentication authorization memorySwap logging crashLoopBackOff tracing userNamespaces
    """,
    "int": """
        port readOnlyPort registryPullQPS registryBurst eventRecordQPS eventBurst healthzPort oomScoreAdj
        nodeLeaseDurationSeconds imageGCHighThresholdPercent imageGCLowThresholdPercent maxPods podPidsLimit
        nodeStatusMaxImages maxOpenFiles kubeAPIQPS kubeAPIBurst maxParallelImagePulls evictionMaxPodGracePeriod
        podsPerCore iptablesMasqueradeBit iptablesDropBit containerLogMaxFiles containerLogMaxWorkers
    """,
    "list": """
        tlsCipherSuites tlsCurvePreferences preloadedImagesVerificationAllowlist clusterDNS enforceNodeAllocatable
        allowedUnsafeSysctls shutdownGracePeriodByPodPriority reservedMemory registerWithTaints
    """,
    "float": """
        memoryThrottlingFactor
    """,
}
FIELDS: Mapping[str, str] = {name: shape for shape, names in _FIELDS.items() for name in names.split()}
_NESTED: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("authentication",): ("x509", "webhook", "anonymous"),
    ("authentication", "x509"): ("clientCAFile",),
    ("authentication", "webhook"): ("enabled", "cacheTTL"),
    ("authentication", "anonymous"): ("enabled",),
    ("authorization",): ("mode", "webhook"),
}
#: The values that a message names: "unknown tls version \"VersionTLS14\"", "Cipher suite TLS_X not supported".
_SAID_VALUE = re.compile(r'"([^"\s]{2,})"|Cipher suite (\S+)')
_AMOUNTS = ("evictionHard", "evictionSoft", "evictionMinimumReclaim", "systemReserved", "kubeReserved")
_SIGNALS = (
    *("memory.available", "allocatableMemory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available"),
    *("imagefs.inodesFree", "containerfs.available", "containerfs.inodesFree", "pid.available"),
)
_QUANTITY = "it must be an amount such as 100Mi"
_SHARE = re.compile(r"\d+(?:\.\d*)?%")
_TLS_VERSIONS = ("VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13")
_DURATION = re.compile(r"-?(?:0|(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+")
_NOUNS = {
    "bool": "true or false",
    "str": "a string",
    "duration": "a duration such as 10s",
    "dict": "a mapping",
    "int": "a number",
    "list": "a list",
    "float": "a number",
}


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """What is wrong in a file, and on which line of it (0: no line). ``fatal``: the kubelet does not start with it.

    ``late``: it judges values when all files are put together, so what another file overrules is not wrong.
    """

    line: int
    what: str
    fatal: bool = True
    field: str = ""
    late: bool = False


@dataclass(frozen=True, slots=True)
class KubeletFlag:
    """One flag of the kubelet's command line and the file and line that give it."""

    name: str
    value: str
    path: str = ""
    line: int = 0

    @property
    def text(self) -> str:
        """As it stands on the command line."""
        return f"--{self.name}={self.value}" if self.value != "" else f"--{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """The kubelet's configuration file. Fields that it does not set have their default, or are None.

    With the files of ``--config-dir`` laid over it, the values and lines are those that count, and ``parts`` are all
    files, the first one first.
    """

    path: str
    absent: bool = False
    empty: bool = False
    faults: tuple[ConfigFault, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    text: tuple[str, ...] = ()
    parts: tuple[ConfigFile, ...] = ()
    set_by: Mapping[str, ConfigFile] = field(default_factory=dict)

    @property
    def faulty(self) -> Iterator[tuple[ConfigFile, ConfigFault]]:
        """All that is wrong, each with its file; not what a later file overrules."""
        for part in self.parts or (self,):
            for fault in part.faults:
                decides = self.set_by.get(fault.field, part)
                if not fault.late or decides is part:
                    yield part, fault

    def file(self, name: str) -> ConfigFile:
        """The file that decides of a field: of several the last that sets it."""
        return self.set_by.get(name, self)

    def line(self, name: str) -> int:
        """The line of a field (``authentication.x509.clientCAFile``); 0 when it is not set."""
        return self.lines.get(name, 0)

    def get(self, name: str) -> Any:
        """The value of a field, its path written with dots; None when it is not set."""
        value: Any = self.values
        for step in name.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        return value

    def string(self, name: str) -> str:
        """The value of a field that is a string; empty when it is not set or is none."""
        value = self.get(name)
        return value if isinstance(value, str) else ""

    def kept_back(self, part: str, resource: str) -> Decimal:
        """How much of a resource a mapping such as systemReserved names; 0 where it names none, or a share."""
        inside = self.get(part)
        try:
            return Quantity.parse(inside.get(resource, 0)) if isinstance(inside, dict) else Decimal(0)
        except (ValueError, TypeError):
            return Decimal(0)

    def named(self, text: str) -> str:
        """The field that a message of the kubelet is about; empty where it names none that is set, or several."""
        places = set(re.findall(r'"(/[^"\s]+)"', text.replace('\\"', '"')))
        if len(exact := [f for f in self.lines if places & set(_scalars(self.get(f)))]) == 1:
            return exact[0]
        words = {w.lower() for w in re.findall(r"(?<![/\w.-])[A-Za-z][\w.-]{3,}", text)}
        fields = [f for f in self.lines if f.rpartition(".")[2].lower() in words or f.lower() in words]
        # "imageGCLowThresholdPercent 80 must be less than imageGCHighThresholdPercent": only one of them is set.
        inner = [f for f in fields if not any(other.startswith(f"{f}.") for other in fields)]
        if not fields:
            said = {a or b for a, b in _SAID_VALUE.findall(text.replace('\\"', '"'))}
            inner = [f for f in self.lines if any(v in said for v in _scalars(self.get(f)))]
        return inner[0] if len(inner) == 1 else ""

    def quoted(self, line: int) -> str:
        """A line of the file as it stands."""
        return self.text[line - 1].strip() if 0 < line <= len(self.text) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubeconfig:
    """Where a kubeconfig leads: never what it proves itself with."""

    path: str
    absent: bool = False
    server: str = ""
    server_line: int = 0
    client_certificate: str = ""
    client_key: str = ""
    authority: str = ""
    astray: tuple[ConfigFault, ...] = ()  # names that it refers to and has not

    @property
    def host(self) -> str:
        """The host of the server; empty when there is none."""
        return _split(self.server)[0]

    @property
    def port(self) -> int:
        """The port of the server, that of its scheme when it names none; 0 when it is no number."""
        return _split(self.server)[1]


def _split(server: str) -> tuple[str, int]:
    try:
        parts = urlsplit(server if "//" in server else f"https://{server}")
        return (parts.hostname or "").lower(), parts.port or (80 if parts.scheme == "http" else 443)
    except ValueError:
        return "", 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletSetup:
    """One node's kubelet, from its files."""

    unit: bool = False  # whether systemd has a unit of it on disk
    exec_start: str = ""
    exec_path: str = ""
    exec_line: int = 0
    program: str = ""
    flags: tuple[KubeletFlag, ...] = ()
    environment_files: tuple[tuple[str, bool], ...] = ()  # path, and whether it may be missing
    settings: UnitText = field(default_factory=UnitText)  # all of the unit's
    config: ConfigFile | None = None
    kubeconfig: Kubeconfig | None = None
    bootstrap: Kubeconfig | None = None
    files: Mapping[str, str] = field(default_factory=dict)  # path → kind as stat names it; empty for not there
    swap: tuple[str, ...] = ()
    flags_known: bool = False  # whether all of its command line is known
    folder_read: bool = True  # whether the files of --config-dir were read, where there is one

    def flag(self, name: str) -> KubeletFlag | None:
        """The flag as it takes effect: of several the last."""
        return next((f for f in reversed(self.flags) if f.name == name), None)

    def missing(self, path: str) -> bool:
        """Whether that file was looked for and is not there."""
        return self.files.get(path, "?") == ""

    def empty(self, path: str) -> bool:
        """Whether that file is there, and has no byte."""
        return self.files.get(path) == EMPTY

    @property
    def settings_known(self) -> bool:
        """Whether all that it was told was seen: its flags, and configuration files that it can read."""
        config = self.config
        if not self.flags_known or not self.folder_read or config is None or config.absent:
            return False
        return not any(f.fatal for _, f in config.faulty)

    def setting(self, flag: str, config: str) -> str:
        """What holds of a setting that has a flag and a field: the flag wins."""
        return self.given(flag, config)[0]

    def given(self, flag: str, config: str) -> tuple[str, str, int]:
        """The same with the file and the line that say so; empty and 0 where none does."""
        if told := self.flag(flag):
            return told.value, told.path, told.line
        if self.config is None or self.config.absent:
            return "", "", 0
        file = self.config.file(config)
        return self.config.string(config), file.path, file.line(config)

    @property
    def unjoined(self) -> bool:
        """Whether kubeadm has not set it up yet: no configuration, no kubeconfig and none to bootstrap with."""
        config, access, first = self.config, self.kubeconfig, self.bootstrap
        bare = bool(access and access.absent and (first is None or first.absent))
        return bare and (config is None or config.absent)

    @property
    def endpoint(self) -> str:
        """The socket at which it looks for its container runtime."""
        return self.setting("container-runtime-endpoint", "containerRuntimeEndpoint")

    @property
    def static_pod_path(self) -> str:
        """The folder of its static pods, without a slash at its end; empty for none."""
        path = self.setting("pod-manifest-path", "staticPodPath")
        return path.rstrip("/") or path


class Kubelets(HostFact[KubeletSetup]):
    """The kubelet's unit, flags, configuration and kubeconfig on each node, as they are on disk now."""

    sources = (
        NodeCommand("kubelet-unit", ("systemctl", "cat", "--no-pager", "kubelet.service"), answers=(0, 1)),
        *READ_KUBELET_ENV,
        READ_KUBELET_CONFIG,
        *(
            NodeCommand(
                "kubelet-kubeconfig",
                ("grep", "-n", *PLACES, path),
                sudo=True,
                name=path,
                limit=16_384,
            )
            for path in (KUBECONFIG, BOOTSTRAP)
        ),
        NodeCommand("swaps", ("cat", "/proc/swaps"), limit=16_384),
        NodeFollow("kubelet-config-other"),
        NodeFollow("kubelet-config-folder"),
        NodeFollow("kubelet-kubeconfig-other"),
        NodeFollow("kubelet-files"),
    )

    @staticmethod
    def follow(node: str, answers: tuple[Answer, ...]) -> Iterable[NodeCommand]:
        """The configuration that ``--config`` names when it is another one, and whether the named files are there."""
        setup = _setup(answers)
        config, kubeconfig = setup.flag("config"), setup.flag("kubeconfig")
        if config and config.value != CONFIG and plain_path(config.value):
            yield NodeCommand("kubelet-config-other", ("cat", config.value), sudo=True, name=config.value)
        folder = setup.flag("config-dir")
        if folder and (read := read_folder(folder.value)):
            yield read
        known = (KUBECONFIG, BOOTSTRAP)
        path = kubeconfig.value if kubeconfig else ""
        if path not in known and safe_path(path):
            if re.fullmatch(r"/etc/kubernetes/[A-Za-z0-9_-]+\.conf", path):
                argv: tuple[str, ...] = ("grep", "-n", *PLACES, path)
            else:
                argv = ("grep", "-n", "-o", "-E", PUBLIC_PARTS, path)
            yield NodeCommand("kubelet-kubeconfig-other", argv, sudo=True, name=path, limit=65_536)
        paths = [p for p in dict.fromkeys(_named(setup)) if safe_path(p)][:24]
        if paths:
            yield NodeCommand("kubelet-files", ("stat", "-L", "-c", "%F|%n", *paths), sudo=True, answers=(0, 1))

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> KubeletSetup:
        """All of it together."""
        return _setup(answers)


def _named(setup: KubeletSetup) -> Iterator[str]:
    """The files without which the kubelet does not start, or its pods do not."""
    yield setup.program
    for name in ("config", "config-dir", "kubeconfig", "bootstrap-kubeconfig", "client-ca-file", "tls-cert-file"):
        if flag := setup.flag(name):
            yield flag.value
    yield setup.setting("resolv-conf", "resolvConf")
    yield from ("/etc/kubernetes/pki/ca.crt", "/usr/bin/kubelet", "/etc/resolv.conf")
    yield setup.static_pod_path
    yield setup.endpoint.removeprefix("unix://")
    if setup.config:
        for name in ("authentication.x509.clientCAFile", "tlsCertFile", "tlsPrivateKeyFile"):
            yield setup.config.string(name)
    for kubeconfig in (setup.kubeconfig, setup.bootstrap):
        if kubeconfig and not kubeconfig.absent:
            yield from (kubeconfig.client_certificate, kubeconfig.authority)
    for path, _ in setup.environment_files:
        yield path


def _setup(answers: tuple[Answer, ...]) -> KubeletSetup:
    unit = _Unit(answer(answers, "kubelet-unit"))
    env_texts = {a.name: a.text for a in answers if a.key == "kubelet-env" and not a.error}
    read = {a.name for a in answers if a.key == "kubelet-env" and (a.absent or not a.error)}
    flags = tuple(_flags(unit, env_texts))
    named = {f.name: f.value for f in flags}
    config_path = named.get("config", "")
    configs = {a.name: a for a in answers if a.key in ("kubelet-config", "kubelet-config-other")}
    config: ConfigFile | None = None
    if found := configs.get(config_path or CONFIG):
        if not found.error:
            config = read_config(found.name, found.text)
        elif found.absent and config_path:
            config = ConfigFile(path=found.name, absent=True)
    folder = named.get("config-dir", "").rstrip("/")
    over = config_folder(answers, folder) if folder else ()
    if config and not config.absent and over:
        config = laid_over(config, over)
    kubeconfigs = {a.name: a for a in answers if a.key in ("kubelet-kubeconfig", "kubelet-kubeconfig-other")}
    files: dict[str, str] = {}
    for a in answers:
        if a.key == "kubelet-files":
            files |= _stat(a.text)
    return KubeletSetup(
        unit=bool(unit.start),
        exec_start=unit.start,
        exec_path=unit.start_path,
        exec_line=unit.start_line,
        program=unit.start.split()[0].lstrip("-@+!:") if unit.start.split() else "",
        flags=flags,
        environment_files=tuple(unit.env_files),
        settings=unit.settings,
        config=config,
        kubeconfig=_kubeconfig(kubeconfigs.get(named.get("kubeconfig", KUBECONFIG))),
        bootstrap=_kubeconfig(kubeconfigs.get(named.get("bootstrap-kubeconfig", BOOTSTRAP))),
        files=files,
        flags_known=bool(unit.start) and all(path in read for path, _ in unit.env_files),
        folder_read=not folder or over is not None,
        swap=tuple(line.split()[0] for line in answer(answers, "swaps").splitlines()[1:] if line.strip()),
    )


def _stat(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        kind, bar, path = line.partition("|")
        if bar and path.startswith("/"):
            found[path] = kind
        elif match := re.search(r"(/[^'\"’]+?)['\"’]?: No such file or directory", line):
            found[match[1]] = ""
    return found


class _Unit:
    """What of the unit and its drop-ins makes the command line."""

    def __init__(self, text: str) -> None:
        self.settings = UnitText.read(text)
        start = self.settings.last("ExecStart")
        self.start, self.start_path, self.start_line = (start.value, start.path, start.line) if start else ("", "", 0)
        self.env: dict[str, tuple[str, str, int]] = {}
        for one in self.settings.of("Environment"):
            for word in _words(one.value):
                name, equals, given = word.partition("=")
                if equals:
                    self.env[name] = (given, one.path, one.line)
        files = self.settings.of("EnvironmentFile")
        self.env_files = [(one.value.lstrip("-"), one.value.startswith("-")) for one in files]


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _environment(unit: _Unit, texts: Mapping[str, str]) -> dict[str, tuple[str, str, int]]:
    """The variables with where they are set; those of files win over those of the unit."""
    found = dict(unit.env)
    for path, _ in unit.env_files:
        for number, line in enumerate(texts.get(path, "").splitlines(), 1):
            if match := re.match(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$", line):
                value = match[2].strip()
                quoted = re.fullmatch(r"(['\"])(.*)\1", value)
                found[match[1]] = (quoted[2] if quoted else value, path, number)
    return found


def _flags(unit: _Unit, texts: Mapping[str, str]) -> Iterator[KubeletFlag]:
    """The command line after systemd has put the variables in, word for word."""
    env = _environment(unit, texts)
    words: list[tuple[str, str, int]] = []
    for word in _words(unit.start)[1:]:
        if match := re.fullmatch(r"\$([A-Za-z_][A-Za-z0-9_]*)", word):
            value, path, line = env.get(match[1], ("", "", 0))
            words += [(w, path, line) for w in _words(value)]
        else:
            text = re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", lambda m: env.get(m[1], ("", "", 0))[0], word)
            words.append((text, unit.start_path, unit.start_line))
    at = 0
    while at < len(words):
        word, path, line = words[at]
        at += 1
        if not word.startswith("-") or word in ("-", "--"):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals and at < len(words) and not words[at][0].startswith("-"):
            value, at = words[at][0], at + 1
        yield KubeletFlag(name, value, path, line)


def _kubeconfig(found: Answer | None) -> Kubeconfig | None:
    """The places that a kubeconfig names; of several clusters or users the first."""
    if found is None or (found.error and not found.absent):
        return None
    one: dict[str, tuple[str, int]] = {}
    for line in found.text.splitlines() if not found.error else ():
        match = re.match(r"(?:/[^:]+:)?(\d+):\s*(?:-\s+)?([A-Za-z-]+):\s*(.*?)\s*$", line)
        if match:
            one.setdefault(match[2], (match[3].strip("'\""), int(match[1][:9])))
    server, line_no = one.get("server", ("", 0))
    return Kubeconfig(
        path=found.name,
        absent=found.absent,
        server=server,
        server_line=line_no,
        client_certificate=one.get("client-certificate", ("", 0))[0],
        client_key=one.get("client-key", ("", 0))[0],
        authority=one.get("certificate-authority", ("", 0))[0],
        astray=tuple(_references(found.text)) if not found.error else (),
    )


_REFERENCE = re.compile(r"(?:/[^:]+:)?(\d{1,9}):\s*(-\s+)?(current-context|cluster|user|name):\s*(.*?)\s*")


def _references(text: str) -> Iterator[ConfigFault]:
    """A context, cluster or user by a name that nothing there has. Only where it has one context, as of kubeadm."""
    lines = [(int(m[1]), m[3], m[4].strip("'\"")) for raw in text.splitlines() if (m := _REFERENCE.fullmatch(raw))]
    names = [value for _, key, value in lines if key == "name"]
    if len(names) != 3:
        return
    used = [(line, key, value) for line, key, value in lines if key in ("cluster", "user") and value]
    current = next(((line, value) for line, key, value in lines if key == "current-context"), None)
    referred = {value for _, _, value in used}
    if current and current[1] not in names:
        left = [n for n in names if n not in referred]
        meant = f", meant is {left[0]}" if len(left) == 1 else ""
        what = f"current-context is {current[1] or 'empty'}, and there is no such context{meant}"
        yield ConfigFault(current[0], what, field=f"current-context: {current[1]}")
    for line, key, value in used:
        if value not in names:
            other = {v for _, k, v in used if k != key} | ({current[1]} if current else set())
            left = [n for n in names if n not in other]
            meant = f", meant is {left[0]}" if len(left) == 1 else ""
            what = f"the context's {key} is {value}, and there is no such {key}{meant}"
            yield ConfigFault(line, what, field=f"{key}: {value}")


def read_config(path: str, text: str) -> ConfigFile:
    """A KubeletConfiguration, with all that the kubelet would not take, or would pass over."""
    lines = tuple(text.splitlines())
    if not text.strip():
        fault = ConfigFault(0, "it is empty")
        return ConfigFile(path=path, empty=True, faults=(fault,), text=lines)
    document = read_yaml(text)
    if isinstance(document, YamlFault):
        return ConfigFile(path=path, faults=(ConfigFault(document.line, document.what),), text=lines)
    values = document.value
    if not isinstance(values, dict):
        return ConfigFile(path=path, faults=(ConfigFault(1, "it is no mapping"),), text=lines)
    where = {
        ".".join(map(str, place)): line
        for place, line in document.lines.items()
        if all(isinstance(step, str) for step in place)
    }
    return ConfigFile(path=path, faults=tuple(_faults(document, values)), values=values, lines=where, text=lines)


def read_folder(path: str) -> NodeCommand | None:
    """What reads the files of ``--config-dir``; None for a folder that may hold something else."""
    if not (safe_path(path) and re.fullmatch(f"{DROP_IN_PATH}/?", path)):
        return None
    path = path.rstrip("/") + "/"
    argv = ("grep", "-rsHn", "--include=*.conf", "", path)
    return NodeCommand("kubelet-config-folder", argv, sudo=True, name=path, answers=(0, 1, 2))


def config_folder(answers: tuple[Answer, ...], folder: str) -> tuple[ConfigFile, ...] | None:
    """The files of ``--config-dir`` in the order in which the kubelet takes them; None where they were not read."""
    found = next((a for a in answers if a.key == "kubelet-config-folder" and a.name.rstrip("/") == folder), None)
    if found is None or found.error:
        return None
    return tuple(read_config(path, "\n".join(lines) + "\n") for path, lines in drop_ins(found.text).items())


_HEAD = frozenset({"apiVersion", "kind"})


def laid_over(first: ConfigFile, over: tuple[ConfigFile, ...]) -> ConfigFile:
    """The configuration of several files, as JSON merge patches: mappings are joined, all else is replaced."""
    values: dict[str, Any] = dict(first.values)
    lines = dict(first.lines)
    set_by = dict.fromkeys(lines, first)
    for one in over:
        values = _patched(values, {k: v for k, v in one.values.items() if k not in _HEAD})
        for name, line in one.lines.items():
            if name in _HEAD:
                continue
            if not isinstance(one.get(name), dict):
                for inner in [n for n in lines if n.startswith(f"{name}.") and n not in one.lines]:
                    del lines[inner], set_by[inner]
            lines[name], set_by[name] = line, one
    return replace(first, values=values, lines=lines, parts=(first, *over), set_by=set_by)


def _patched(values: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(values)
    for key, value in patch.items():
        before = found.get(key)
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict):
            found[key] = _patched(before if isinstance(before, dict) else {}, value)
        else:
            found[key] = value
    return found


def _faults(document: Document, values: Mapping[str, Any]) -> Iterator[ConfigFault]:
    kind, version = values.get("kind"), values.get("apiVersion")
    for name, right in (("apiVersion", "kubelet.config.k8s.io/v1beta1"), ("kind", "KubeletConfiguration")):
        if not values.get(name):
            yield ConfigFault(1, f"{name} is missing, it is {right}", field=name)
    if kind and kind != "KubeletConfiguration":
        yield ConfigFault(document.line("kind"), f"kind is {kind}, it must be KubeletConfiguration", field="kind")
    if version and version not in ("kubelet.config.k8s.io/v1beta1", "kubelet.config.k8s.io/v1"):
        yield ConfigFault(
            document.line("apiVersion"),
            f"apiVersion is {version}, it must be kubelet.config.k8s.io/v1beta1",
            field="apiVersion",
        )
    for key, value in values.items():
        name = str(key)
        shape = FIELDS.get(name)
        if shape is None:
            meant = _meant(name, tuple(FIELDS), values)
            yield ConfigFault(document.line(name), _unknown(name, meant), fatal=False, field=name)
        elif value is not None and not _fits(value, shape):
            yield ConfigFault(document.line(name), f"{name} is {_shown(value)}, it must be {_NOUNS[shape]}", field=name)
    for place, known in _NESTED.items():
        inner = document.at(*place)
        for key in inner if isinstance(inner, dict) else ():
            if key not in known:
                name = ".".join((*place, str(key)))
                meant = _meant(str(key), known, inner)
                yield ConfigFault(document.line(*place, key), _unknown(name, meant), fatal=False, field=name)
    for fault in _values(document, values):
        yield replace(fault, late=True)


def _values(document: Document, values: Mapping[str, Any]) -> Iterator[ConfigFault]:
    """Values of the right type that the kubelet refuses all the same."""
    driver = values.get("cgroupDriver")
    if isinstance(driver, str) and driver not in ("", "cgroupfs", "systemd"):
        # Seen with 1.36: it says nothing, and works as with cgroupfs.
        meant = nearest(driver, ["systemd", "cgroupfs"]) or "systemd or cgroupfs"
        what = f"cgroupDriver is {driver}, meant is {meant}"
        yield ConfigFault(document.line("cgroupDriver"), what, fatal=False, field="cgroupDriver")
    for name in ("port", "readOnlyPort", "healthzPort"):
        port = values.get(name)
        if isinstance(port, int) and not isinstance(port, bool) and not 0 <= port <= 65535:
            yield ConfigFault(document.line(name), f"{name} is {port}, it must be a port up to 65535", field=name)
    yield from _amounts(document, values)
    version = values.get("tlsMinVersion")
    if isinstance(version, str) and version and version not in _TLS_VERSIONS:
        what = f"tlsMinVersion is {version}, it must be one of {', '.join(_TLS_VERSIONS)}"
        yield ConfigFault(document.line("tlsMinVersion"), what, field="tlsMinVersion")
    endpoint = values.get("containerRuntimeEndpoint")
    if endpoint == "":
        yield ConfigFault(
            document.line("containerRuntimeEndpoint"),
            "containerRuntimeEndpoint is empty",
            fatal=False,
            field="containerRuntimeEndpoint",
        )


def _amounts(document: Document, values: Mapping[str, Any]) -> Iterator[ConfigFault]:
    """Sizes that are none: the kubelet ends without naming the field."""
    size = values.get("containerLogMaxSize")
    if isinstance(size, str) and size and not _is_quantity(size):
        what = f'containerLogMaxSize is "{size}", {_QUANTITY}'
        yield ConfigFault(document.line("containerLogMaxSize"), what, field="containerLogMaxSize")
    soft, graces = values.get("evictionSoft"), values.get("evictionSoftGracePeriod") or {}
    for key in soft if isinstance(soft, dict) and isinstance(graces, dict) else ():
        if key in _SIGNALS and key not in graces:
            what = f"evictionSoft.{key} has no time in evictionSoftGracePeriod"
            yield ConfigFault(document.line("evictionSoft", key), what, field=f"evictionSoft.{key}")
    for part in _AMOUNTS:
        inside = values.get(part)
        for key, value in inside.items() if isinstance(inside, dict) else ():
            name = f"{part}.{key}"
            signals = _SIGNALS if part.startswith("eviction") else ()
            if signals and key not in signals:
                meant = nearest(str(key), signals)
                what = f"{part} has no signal {key}" + (f", meant is {meant}" if meant else "")
                yield ConfigFault(document.line(part, key), what, field=name)
            elif isinstance(value, str) and not (_is_quantity(value) or (signals and _SHARE.fullmatch(value))):
                yield ConfigFault(document.line(part, key), f'{name} is "{value}", {_QUANTITY}', field=name)


def _is_quantity(text: str) -> bool:
    try:
        Quantity.parse(text)
    except ValueError:
        return False
    return True


def _scalars(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        yield from (v for v in value if isinstance(v, str))
    elif isinstance(value, str):
        yield value


def _meant(name: str, known: tuple[str, ...], values: Mapping[str, Any]) -> str:
    close = nearest(name, [k for k in known if k not in values])
    return close or ""


def _unknown(name: str, meant: str) -> str:
    return f"there is no field {name}" + (f", meant is {meant}" if meant else "")


def _fits(value: Any, shape: str) -> bool:
    match shape:
        case "bool":
            return isinstance(value, bool)
        case "str":
            return isinstance(value, str)
        case "duration":
            return isinstance(value, str) and bool(_DURATION.fullmatch(value))
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "list":
            return isinstance(value, list)
    return isinstance(value, dict)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f'"{value}"' if isinstance(value, str) else str(value)
