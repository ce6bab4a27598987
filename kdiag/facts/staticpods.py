"""One static pod as its manifest has it: the flags of its component, and the files that they name."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

from kdiag.facts.filelist import FileInfo
from kdiag.facts.flagnames import flag_kind
from kdiag.facts.podspec import Container, PodSpec
from kdiag.facts.podyaml import Document, Problem, YamlFault
from kdiag.facts.system import COMPONENTS, mount_of
from kdiag.model.result import Evidence
from kdiag.model.text import shorten

#: Shells that a manifest may start its component through: what they run cannot be told from the list of words.
_SHELLS = frozenset({"sh", "bash", "ash", "busybox", "dash"})
#: Flags whose value is a file that must be there when the component starts.
_FILE_FLAG = re.compile(
    r"(?:file|kubeconfig|certificate|client-key|certificate-authority|sni-cert-key|config)$|^config$"
)
_NOT_FILE = re.compile(r"log|^token-auth-webhook|^runtime-config$")

#: A name of two words or more as a program writes it inside, and the length up to which one could be anything.
_CAMEL = re.compile(r"\b[A-Za-z]*[a-z][A-Z][A-Za-z]*")
_SHORT = 8


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of a command line, and where it stands."""

    name: str
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Use:
    """A file that a flag names: its path inside the container, and on the node where a hostPath volume shows it.

    ``host`` is empty where no volume is mounted there; ``volume`` is then empty as well. A volume that is not of the
    node (``host`` empty, ``volume`` not) cannot be judged.
    """

    flag: Flag
    inside: str
    volume: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class HostVolume:
    """A hostPath volume of a manifest, and where its path stands."""

    name: str
    path: str
    type: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One file of the folder. ``fault``: it is no YAML. ``problems``: it is no pod, or has misspelt fields."""

    info: FileInfo
    lines: tuple[str, ...] = ()
    read: bool = True
    fault: YamlFault | None = None
    document: Document = field(default_factory=Document)
    problems: tuple[Problem, ...] = ()
    spec: PodSpec | None = None
    binary: bool = False

    @property
    def path(self) -> str:
        """Its whole path."""
        return self.info.path

    @property
    def file(self) -> str:
        """Its name in the folder."""
        return self.info.path.rpartition("/")[2]

    @property
    def taken(self) -> bool:
        """Whether the kubelet makes a pod of it."""
        return self.spec is not None

    @property
    def refused(self) -> tuple[Problem, ...]:
        """Why the kubelet takes it for no pod."""
        return tuple(p for p in self.problems if p.fatal)

    @property
    def name(self) -> str:
        """metadata.name; empty where it cannot be read."""
        name = self.document.at("metadata", "name")
        return name if isinstance(name, str) else ""

    @property
    def namespace(self) -> str:
        """metadata.namespace."""
        namespace = self.document.at("metadata", "namespace")
        return namespace if isinstance(namespace, str) and namespace else "default"

    @cached_property
    def component(self) -> str:
        """Which component of the control plane it runs, or was meant to run; empty for any other pod."""
        labels = self.document.at("metadata", "labels")
        label = labels.get("component") if isinstance(labels, dict) else ""
        containers = [c.name for c in self.spec.containers] if self.spec else []
        for word in (self.name, label, *containers):
            if word in COMPONENTS:
                return str(word)
        if self.spec and self.name:
            return ""
        stem = self.file.partition(".")[0]
        if stem in COMPONENTS:
            return stem
        text = "\n".join(self.lines)
        return next((c for c in COMPONENTS if re.search(rf"^\s*(?:- ?)?(?:name: *)?{c}\s*$", text, re.MULTILINE)), "")

    @cached_property
    def index(self) -> int:
        """Which of its containers runs the component."""
        found = self.spec.containers if self.spec else ()
        return next((i for i, c in enumerate(found) if c.name == self.component), 0)

    @property
    def container(self) -> Container:
        """The container that runs the component."""
        return self.spec.containers[self.index] if self.spec else Container()

    @property
    def program(self) -> str:
        """The name of what it starts; empty where the image decides or a shell does."""
        words = self.container.command
        base = words[0].rpartition("/")[2] if words else ""
        return "" if base in _SHELLS or not base else base

    @property
    def shell(self) -> bool:
        """Whether a shell starts the component, so that its flags cannot be told."""
        words = self.container.command
        return bool(words) and words[0].rpartition("/")[2] in _SHELLS

    @cached_property
    def words(self) -> tuple[tuple[str, int], ...]:
        """The words of its command and args, each with its line; none where a shell takes them."""
        if self.shell:
            return ()
        found: list[tuple[str, int]] = []
        for part, given in (("command", self.container.command), ("args", self.container.args)):
            found += [(w, self.line("spec", "containers", self.index, part, i)) for i, w in enumerate(given)]
        return tuple(found)

    @cached_property
    def flags(self) -> tuple[Flag, ...]:
        """The flags of the component, in their order."""
        words = self.words
        found: list[Flag] = []
        for at, (word, line) in enumerate(words):
            if not re.match(r"--?[A-Za-z]", word):
                continue
            name, equals, value = word.lstrip("-").partition("=")
            if not equals and at + 1 < len(words) and not words[at + 1][0].startswith("-"):
                value = words[at + 1][0]
            found.append(Flag(name, value, line))
        return tuple(found)

    @cached_property
    def strays(self) -> tuple[tuple[str, int], ...]:
        """The words that are neither a flag nor a flag's value: the component takes none, and exits."""
        if self.program != self.component:
            return ()  # another program may read the words before the component does
        found: list[tuple[str, int]] = []
        taken = False  # by the flag before it, as its value
        for word, line in self.words[1:]:
            if taken or "<redacted:" in word:
                taken = False
            elif not word.startswith("-"):
                found.append((word, line))
            elif self.component != "etcd" and not word.startswith("--"):
                # Of one dash and one letter they know -v and -h; etcd takes one dash or two.
                if re.match(r"-[A-Za-z][^=]", word) and not re.match(r"-v\d", word):
                    found.append((word, line))
            else:
                taken = "=" not in word and flag_kind(self.component, word.lstrip("-")) != "bool"
        return tuple(found)

    def named(self, text: str) -> Flag | None:
        """The flag that a message of the component is about: by its name, or by a value that only one flag has.

        A name may also stand there as the program calls it inside: MaxRequestsInFlight, leaseDuration.
        """
        by_name = [
            (match.start(), one)
            for one in self.flags
            if (match := re.search(rf"(?<![\w-])--{re.escape(one.name)}(?![\w-])", text))
        ]
        if by_name:
            return min(by_name, key=lambda found: found[0])[1]
        words = {w.strip(".:,") for w in re.findall(r"[\w./:@*+,=-]{3,}", text.replace("\\", ""))}
        by_value: dict[str, Flag] = {}
        for one in self.flags:
            parts = [one.value, *one.value.split(","), *(p.partition("=")[0] for p in one.value.split(","))]
            if words & {p for p in parts if len(p) > 2 and p not in ("true", "false")}:
                by_value.setdefault(one.value, one)
        if len(by_value) == 1:
            return next(iter(by_value.values()))
        inside = [w.lower() for w in _CAMEL.findall(text) if len(w) > _SHORT]
        by_field = [f for w in inside for f in self.flags if f.name.replace("-", "").endswith(w)]
        return by_field[0] if by_field and not by_value else None

    def flag(self, name: str) -> Flag | None:
        """The flag of that name: the last one counts."""
        return next((f for f in reversed(self.flags) if f.name == name), None)

    def value(self, name: str, default: str = "") -> str:
        """The value of a flag, or the default when it is not given."""
        found = self.flag(name)
        return found.value if found else default

    def line(self, *path: str | int) -> int:
        """The line of a place in the document."""
        return self.document.line(*path)

    def text(self, line: int) -> str:
        """One line of the file, stripped."""
        return self.lines[line - 1].strip() if 0 < line <= len(self.lines) else ""

    def where(self, line: int) -> str:
        """``/etc/kubernetes/manifests/etcd.yaml:24``."""
        return f"{self.path}:{line}"

    def quote(self, node: str, line: int, also: int = 0) -> Evidence:
        """A line of the file as evidence, or the lines from one to another."""
        last = max(also, line)
        shown = " ⏎ ".join(s for n in range(line, last + 1) if (s := self.text(n)))
        span = f"{line}p" if last == line else f"{line},{last}p"
        return Evidence(f"sed -n {span} {self.path}", shorten(shown, 300) or "(an empty line)", node)

    def host_volumes(self) -> tuple[HostVolume, ...]:
        """Its hostPath volumes."""
        return tuple(
            HostVolume(v.name, v.host_path.path, v.host_path.type, self.line("spec", "volumes", i, "hostPath", "path"))
            for i, v in enumerate(self.spec.volumes if self.spec else ())
            if v.host_path and v.host_path.path
        )

    def on_host(self, inside: str) -> tuple[str, str]:
        """The volume that shows a path of the container, and the path on the node; empty where there is none."""
        if not self.spec:
            return "", ""
        volume, below = mount_of(self.container, inside)
        if not volume:
            return "", ""
        sub = next((m.sub_path for m in self.container.volume_mounts if m.name == volume and m.sub_path), "")
        root = next((v.path for v in self.host_volumes() if v.name == volume), "")
        parts = [p.strip("/") for p in (sub, below) if p.strip("/")]
        return volume, "/".join([root.rstrip("/"), *parts]) if root else ""

    @cached_property
    def uses(self) -> tuple[Use, ...]:
        """The files that its flags name."""
        found: list[Use] = []
        for one in self.flags:
            if not _FILE_FLAG.search(one.name) or _NOT_FILE.search(one.name):
                continue
            for word in one.value.split(","):
                path = word.partition(":")[0].strip() if one.name == "tls-sni-cert-key" else word.strip()
                if "/" not in path or "://" in path:
                    continue
                path = path if path.startswith("/") else f"/{path}"
                found.append(Use(one, path, *self.on_host(path)))
        return tuple(found)
