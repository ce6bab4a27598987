"""Static pod manifests as the kubelet reads them, and the files of the node that they name."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache

import msgspec

from kdiag.facts.base import NodeCommand, NodeFollow
from kdiag.facts.cluster import Cluster
from kdiag.facts.flagnames import flag_kind
from kdiag.facts.hosts import Answer, HostFact, answer, safe_path
from kdiag.facts.nodefiles import PUBLIC_PARTS, READ_INTERFACES, READ_KERNEL, READ_KUBELET_CONFIG, matching
from kdiag.facts.pods import Pods
from kdiag.facts.podspec import Container, PodSpec
from kdiag.facts.podyaml import Document, Problem, YamlFault, pod_problems, read_yaml
from kdiag.facts.runtime import Containers
from kdiag.facts.system import COMPONENTS, mount_of
from kdiag.facts.wire import convert, without_nulls
from kdiag.model.jsontext import read_json
from kdiag.model.result import CLUSTER, Evidence, Ref, Severity
from kdiag.model.text import clean_line, shorten

FOLDER = "/etc/kubernetes/manifests"
_ROOT = "/etc/kubernetes"
#: What grep -azo shows with it of a file: its certificates, and where one begins that does not end.
CERTIFICATES = "-----BEGIN (TRUSTED )?CERTIFICATE-----([^-]*-----END (TRUSTED )?CERTIFICATE-----)?"
_FORMAT = r"%y\t%Y\t%s\t%T@\t%m\t%U\t%p\t%l\n"
#: Shells that a manifest may start its component through: what they run cannot be told from the list of words.
_SHELLS = frozenset({"sh", "bash", "ash", "busybox", "dash"})
#: Flags whose value is a file that must be there when the component starts.
_FILE_FLAG = re.compile(
    r"(?:file|kubeconfig|certificate|client-key|certificate-authority|sni-cert-key|config)$|^config$"
)
_NOT_FILE = re.compile(r"log|^token-auth-webhook|^runtime-config$")
_MOST_PATHS = 120
#: Where a manifest is put when somebody takes it out of the folder.
_PLACES = ("/tmp", "/root", "/home", "/etc/kubernetes", "/var/tmp")  # noqa: S108


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """One file of a node, as ``find`` shows it; ``kind`` is f, d, p, s …, that of the target for a link."""

    path: str
    kind: str = "f"
    link: str = ""
    size: int = 0
    changed: datetime | None = None
    mode: str = ""
    owner: str = ""

    @property
    def there(self) -> bool:
        """Whether there is anything, and not just a link to nowhere."""
        return self.kind not in ("N", "L", "l", "?")

    @property
    def noun(self) -> str:
        """What it is, for a sentence."""
        kinds = {"f": "a file", "d": "a folder", "p": "a pipe", "s": "a socket", "b": "a device", "c": "a device"}
        return kinds.get(self.kind, f"a link to {self.link}, which is not there" if self.link else "a broken link")


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
        """The flag that a message of the component is about: by its name, or by a value that only one flag has."""
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
        return next(iter(by_value.values())) if len(by_value) == 1 else None

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
        volume, below = mount_of(self.spec, self.container, inside)
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


@dataclass(frozen=True, kw_only=True)
class NodeManifests:
    """The folder of one node, and what its manifests name."""

    folder: str = FOLDER
    there: bool = True
    #: The folder that the kubelet's configuration names: None when that was not read, empty when it names none.
    declared: str | None = None
    declared_line: int = 0
    files: tuple[Manifest, ...] = ()
    #: Dot-files and what lies in sub-folders: the kubelet passes over them.
    ignored: tuple[FileInfo, ...] = ()
    tree: Mapping[str, FileInfo] = field(default_factory=dict)
    host: Mapping[str, FileInfo | None] = field(default_factory=dict)
    servers: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    certificates: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    elsewhere: tuple[FileInfo, ...] | None = None
    #: The addresses of the node's interfaces; empty where they were not read.
    addresses: frozenset[str] = frozenset()
    cpus: int = 0
    memory: int = 0

    @property
    def used(self) -> bool:
        """Whether the kubelet reads this folder, as far as its configuration tells."""
        return self.declared is None or self.declared.rstrip("/") == self.folder

    @cached_property
    def meant(self) -> tuple[str, ...]:
        """The components that this node was set up to run, by the files that only such a node has.

        A node of the control plane has a kubeconfig for its scheduler and controller manager; an etcd member has a
        serving certificate of its own. Empty for a worker, and for clusters that were not made by kubeadm.
        """
        marks = {
            "etcd": f"{_ROOT}/pki/etcd/server.crt",
            "kube-apiserver": f"{_ROOT}/pki/apiserver.crt",
            "kube-controller-manager": f"{_ROOT}/controller-manager.conf",
            "kube-scheduler": f"{_ROOT}/scheduler.conf",
        }
        return tuple(part for part, mark in marks.items() if mark in self.tree)

    @property
    def control_plane(self) -> bool:
        """Whether it runs, or was set up to run, a part of the control plane."""
        return len(self.meant) >= 2 or any(m.component for m in self.files)

    def all_of(self, component: str) -> tuple[Manifest, ...]:
        """The files that are about one component, whether or not they can be read."""
        return tuple(m for m in self.files if m.component == component)

    def of(self, component: str) -> Manifest | None:
        """The manifest of one component that the kubelet runs."""
        found = [m for m in self.all_of(component) if m.taken] if self.used else []
        return next((m for m in found if m.file == f"{component}.yaml"), found[0] if found else None)

    @property
    def running(self) -> tuple[Manifest, ...]:
        """The manifests of the control plane's components that the kubelet runs, each once."""
        return tuple(m for c in COMPONENTS if (m := self.of(c)))

    def state(self, path: str) -> FileInfo | bool | None:
        """A file of the node; False when it is certainly not there, None when that is not known."""
        path = path.rstrip("/") or "/"
        found = self.host.get(path, self.tree.get(path))
        if found is not None:
            return found if found.there else False
        if path in self.host:
            return False
        # All of /etc/kubernetes was listed, three levels deep.
        below = path.removeprefix(_ROOT + "/")
        return False if self.tree and below != path and below.count("/") < 3 and self._listed(path) else None

    def _listed(self, path: str) -> bool:
        parent = path.rpartition("/")[0]
        while parent.startswith(_ROOT) and parent != _ROOT:
            above = self.tree.get(parent)
            if above is not None and above.link:
                return False
            parent = parent.rpartition("/")[0]
        return True


@dataclass(frozen=True, kw_only=True)
class Manifests(HostFact[NodeManifests]):
    """The static pods' manifests, node by node."""

    sources = (
        NodeCommand(
            "manifest-files", ("find", f"{_ROOT}/", "-maxdepth", "3", "-printf", _FORMAT), sudo=True, limit=1 << 19
        ),
        NodeCommand("manifests", ("grep", "-rHn", "", FOLDER), sudo=True, limit=1 << 20),
        READ_KUBELET_CONFIG,
        READ_KERNEL,
        READ_INTERFACES,
        NodeFollow("manifest-paths"),
        NodeFollow("manifest-servers"),
        NodeFollow("manifest-certificates"),
        NodeFollow("manifest-linked"),
        NodeFollow("manifest-elsewhere"),
        NodeFollow("manifest-other-files"),
        NodeFollow("manifest-other"),
        # Of recordings made before those three were taken from what others read as well.
        *(NodeFollow(key) for key in ("static-pod-path", "capacity", "addresses")),
    )
    beside = frozenset({"kubelet-config", "kernel", "interfaces"})

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> NodeManifests:
        """The folder, its files, and what is known of the files that they name."""
        declared, line = _declared(answers)
        first = _folder(answers, _other(answers, declared))
        asked = _asked(answers)
        host: dict[str, FileInfo | None] = dict.fromkeys(asked)
        seen = [a for a in answers if a.key == "manifest-paths" and not a.error]
        if seen:
            for info in _files(seen[0].text):
                host[info.path] = info
        else:
            host = {}
        certificates: dict[str, dict[str, str]] = {}
        for one in answers:
            if one.key == "manifest-certificates" and not one.error:
                certificates.setdefault(one.name.partition("#")[0], {}).update(_certificate(one))
        found = [a for a in answers if a.key == "manifest-elsewhere" and not a.error]
        return NodeManifests(
            folder=first.folder,
            there=bool(first.tree) and first.folder in first.tree,
            declared=declared,
            declared_line=line,
            files=first.files,
            ignored=first.ignored,
            tree=first.tree,
            host=host,
            servers=_servers(answers),
            certificates=certificates,
            elsewhere=tuple(_files(found[0].text)) if found else None,
            addresses=frozenset(
                address
                for key in ("addresses", "interfaces")
                for address in re.findall(r"\binet6? ([0-9a-fA-F.:]+)", answer(answers, key))
            ),
            cpus=_cpus(answers),
            memory=_memory(answers),
        )

    @staticmethod
    def follow(node: str, answers: tuple[Answer, ...]) -> Iterable[NodeCommand]:
        """The files that the manifests' flags and volumes name, and the servers of the kubeconfigs."""
        return tuple(_follow(answers))


def _follow(answers: tuple[Answer, ...]) -> Iterator[NodeCommand]:
    first = _folder(answers)
    paths = _asked(answers)
    if paths:
        around = {"/"} | {p[:at] for p in paths for at in range(1, len(p) + 1) if p[at : at + 1] in ("", "/")}
        tests: list[str] = []
        for path in sorted(around):
            tests += [*(("-o",) if tests else ()), "-path", path]
        yield NodeCommand(
            "manifest-paths",
            ("find", "-L", "/", "-maxdepth", "16", "(", *tests, ")", "-printf", _FORMAT, "-o", "-prune"),
            sudo=True,
            limit=1 << 19,
        )
    confs = [p for p, i in first.tree.items() if re.fullmatch(_ROOT + r"/[A-Za-z0-9_-]+\.conf", p) and i.kind == "f"]
    if confs:
        yield NodeCommand("manifest-servers", ("grep", "-Hn", "server:", *sorted(confs)[:12]), sudo=True)
    named = [u.host for m in first.files for u in m.uses if u.flag.name == "kubeconfig" and safe_path(u.host)]
    if others := sorted({p for p in named if p not in confs})[:4]:
        yield NodeCommand(
            "manifest-servers", ("grep", "-Hn", "-o", "-E", PUBLIC_PARTS, *others), sudo=True, name="others"
        )
    folder = (_declared(answers)[0] or FOLDER).rstrip("/")
    if folder != FOLDER and safe_path(folder):
        # By their names: such a folder may hold anything, and no more of it is read.
        paths = tuple(f"{folder}/{component}.yaml" for component in COMPONENTS)
        listing = ("find", f"{folder}/", "-maxdepth", "1", "-printf", _FORMAT)
        yield NodeCommand("manifest-other-files", listing, sudo=True, name=folder, answers=(0, 1))
        yield NodeCommand("manifest-other", ("grep", "-Hn", "", *paths), sudo=True, limit=1 << 20, answers=(0, 1, 2))
    for manifest in first.files:
        link = manifest.info.link
        if link and manifest.info.kind == "f" and safe_path(manifest.path) and re.search(r"\.(ya?ml|json)$", link):
            yield NodeCommand("manifest-linked", ("grep", "-Hn", "", manifest.path), sudo=True, name=manifest.path)
    for path in (p for p in _certificate_paths(first.files) if p in first.tree and first.tree[p].kind == "f"):
        yield show_certificates("manifest-certificates", path)
    have = {m.component for m in first.files}
    if first.meant_some and not set(COMPONENTS) <= have:
        names = ["-name", "kube-*.y*ml*", "-o", "-name", "etcd*.y*ml*", "-o", "-name", "kube-*.bak"]
        yield NodeCommand(
            "manifest-elsewhere",
            ("find", *_PLACES, "-maxdepth", "3", "-type", "f", "(", *names, ")", "-printf", _FORMAT),
            sudo=True,
        )


@dataclass(frozen=True, slots=True)
class _Folder:
    files: tuple[Manifest, ...]
    ignored: tuple[FileInfo, ...]
    tree: Mapping[str, FileInfo]
    folder: str = FOLDER

    @property
    def meant_some(self) -> bool:
        return any(f"{_ROOT}/{name}" in self.tree for name in ("controller-manager.conf", "scheduler.conf"))


def _other(answers: tuple[Answer, ...], declared: str | None) -> str:
    """The folder that the kubelet is told of, where that is another one and holds manifests."""
    folder = (declared or FOLDER).rstrip("/")
    listed = {i.path for i in _files(answer(answers, "manifest-other-files", folder))} if folder != FOLDER else set()
    held = [c for c in COMPONENTS if f"{folder}/{c}.yaml" in listed]
    return folder if held and any(a.key == "manifest-other" and not a.error for a in answers) else FOLDER


def _folder(answers: tuple[Answer, ...], folder: str = FOLDER) -> _Folder:
    """What a folder holds, with all that was listed of the node."""
    tree = {info.path: info for info in _files(answer(answers, "manifest-files"))}
    if tree:
        tree.setdefault(_ROOT, FileInfo(path=_ROOT, kind="d"))
    shown = "manifests"
    if folder != FOLDER:
        shown = "manifest-other"
        tree |= {info.path: info for info in _files(answer(answers, "manifest-other-files", folder))}
    inside = [i for p, i in sorted(tree.items()) if p.startswith(folder + "/")]
    whole = any(a.key == shown and not a.error for a in answers)
    named = [i for i in inside if "/" not in i.path[len(folder) + 1 :]]
    contents = _contents(answer(answers, shown), {i.path for i in inside})
    for one in answers:
        if one.key == "manifest-linked" and not one.error:
            contents |= _contents(one.text, {one.name})
    files: list[Manifest] = []
    ignored: list[FileInfo] = [i for i in inside if i not in named and i.kind != "d"]
    for info in named:
        if info.path[len(folder) + 1 :].startswith("."):
            ignored.append(info)
        elif info.kind != "d":
            files.append(_manifest(info, contents.get(info.path), whole=whole))
    return _Folder(tuple(files), tuple(ignored), tree, folder)


# Several facts go by the manifests, and each before and after the second round: one reading does for all of them.
@lru_cache(maxsize=256)
def _manifest(info: FileInfo, lines: tuple[str, ...] | None, *, whole: bool) -> Manifest:
    if info.kind != "f":
        return Manifest(info=info)
    if lines is None:
        if info.size == 0:
            return Manifest(info=info, problems=(Problem((), 1, "it is empty"),))
        return Manifest(info=info, read=False)
    if lines and lines[0] == _BINARY:
        return Manifest(info=info, binary=True, fault=YamlFault(1, 1, "it is a binary file"))
    found = read_yaml("\n".join(lines) + "\n")
    if isinstance(found, YamlFault):
        return Manifest(info=info, lines=lines, fault=found, read=whole)
    problems = pod_problems(found)
    spec = None
    if not any(p.fatal for p in problems):
        try:
            spec = convert(without_nulls(found.value.get("spec")), PodSpec)
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            problems = (Problem(("spec",), found.line("spec"), shorten(str(exc), 120)), *problems)
    return Manifest(info=info, lines=lines, document=found, problems=problems, spec=spec, read=whole)


_BINARY = "\x00"


def _contents(text: str, paths: set[str]) -> dict[str, tuple[str, ...]]:
    """The lines of each file, of ``path:number:line``."""
    found: dict[str, list[str]] = {}
    for line in text.split("\n"):
        if match := re.fullmatch(r"(?:grep: |Binary file )(.+?)(?:: binary file)? matches", line):
            if match[1] in paths:
                found[match[1]] = [_BINARY]
            continue
        for colon in re.finditer(r":(\d+):", line):
            path = line[: colon.start()]
            if path in paths:
                found.setdefault(path, []).append(line[colon.end() :])
                break
    return {path: tuple(lines) for path, lines in found.items()}


def _files(text: str) -> Iterator[FileInfo]:
    for line in text.splitlines():
        parts = line.split("\t")
        if len(parts) < 7 or not parts[6].startswith("/"):
            continue
        own, target, size, changed, mode, owner, path = parts[:7]
        link = parts[7] if len(parts) > 7 else ""
        yield FileInfo(
            path=path.rstrip("/") or "/",
            kind=target if own == "l" else own,
            link=link if own == "l" else "",
            size=_number(size),
            changed=_moment(changed),
            mode=mode,
            owner=owner,
        )


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _number(text: str) -> int:
    found = re.search(r"\d{1,18}", text)
    return int(found[0]) if found else 0


def _asked(answers: tuple[Answer, ...]) -> tuple[str, ...]:
    """The paths of the node that the manifests name, each once."""
    found: dict[str, None] = {}
    for manifest in _folder(answers).files:
        for volume in manifest.host_volumes():
            found[volume.path.rstrip("/") or "/"] = None
        for use in manifest.uses:
            found[use.inside] = None
            if use.host:
                found[use.host] = None
        if data := manifest.value("data-dir"):
            host = manifest.on_host(data)[1]
            for path in (data, host) if host else (data,):
                found[path.rstrip("/")] = None
                found[f"{path.rstrip('/')}/member"] = None
    if any(m.component == "etcd" for m in _folder(answers).files):
        found["/var/lib/etcd/member"] = None
    declared = (_declared(answers)[0] or FOLDER).rstrip("/")
    if declared != FOLDER:
        found[declared] = None
        found |= {f"{declared}/{component}.yaml": None for component in COMPONENTS}
    return tuple(p for p in found if safe_path(p))[:_MOST_PATHS]


def _certificate_paths(files: Iterable[Manifest]) -> tuple[str, ...]:
    """The certificates by which the API server and etcd know each other."""
    wanted = {
        "kube-apiserver": ("etcd-cafile", "etcd-certfile"),
        "etcd": ("trusted-ca-file", "cert-file"),
    }
    found: dict[str, None] = {}
    for manifest in files:
        for name in wanted.get(manifest.component, ()):
            host = manifest.on_host(manifest.value(name))[1] if manifest.value(name) else ""
            if host and safe_path(host) and re.search(r"\.(crt|pem|cert|cer)$", host):
                found[host] = None
    return tuple(found)[:8]


def show_certificates(key: str, path: str) -> NodeCommand:
    """A command that shows the certificates of a file and nothing else that may be in it."""
    argv = ("grep", "-azoHE", "-e", CERTIFICATES, path)
    return NodeCommand(key, argv, sudo=True, limit=131_072, name=path, answers=(0, 1, 2))


def _certificate(one: Answer) -> dict[str, str]:
    if "-----BEGIN " in one.text:
        return _names_in(one.text)
    # As openssl says it, in recordings of before.
    if one.name.endswith("#count"):
        return {"count": one.text.strip()}
    found: dict[str, str] = {}
    for line in one.text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key in ("subject", "issuer"):
            found[key] = re.sub(r"\s*=\s*", "=", value.strip().lstrip("/"))
    return found


def _names_in(text: str) -> dict[str, str]:
    """Whom the first certificate is for and who signed it, as openssl writes it, and how many there are."""
    from cryptography import x509

    found = {"count": str(text.count("-----BEGIN "))}
    pem = re.search(r"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----", text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one = x509.load_pem_x509_certificate(pem[0].encode()) if pem else None
            for key, name in (("subject", one.subject), ("issuer", one.issuer)) if one else ():
                parts = (f"{a.rfc4514_attribute_name}={a.value!s}" for a in name)
                found[key] = clean_line(", ".join(parts))
    except Exception:  # whatever a file may hold, it is no certificate
        return found
    return found


def _cpus(answers: tuple[Answer, ...]) -> int:
    if told := answer(answers, "capacity", "cpu"):
        return _number(told)
    online = re.search(r"^/sys/devices/system/cpu/online:([\d,-]{1,200})$", answer(answers, "kernel"), re.MULTILINE)
    spans = [span.partition("-") for span in online[1].split(",")] if online else []
    return sum(_number(last or first) - _number(first) + 1 for first, _, last in spans)


def _memory(answers: tuple[Answer, ...]) -> int:
    text = answer(answers, "capacity", "memory") or answer(answers, "kernel")
    found = re.search(r"\bMemTotal:\s*(\d{1,15}) kB", text)
    return int(found[1]) * 1024 if found else 0


def _declared(answers: tuple[Answer, ...]) -> tuple[str | None, int]:
    recorded = [a for a in answers if a.key == "static-pod-path"]
    for one in () if recorded else answers:
        if one.key == "kubelet-config":
            if one.error:
                return None, 0
            for number, line in matching(one.text, "^ *staticPodPath:"):
                if found := re.match(r" *staticPodPath: *[\"']?([^\"'#]*)", line):
                    return found[1].strip(), number
            return "", 0
    for one in recorded:
        if one.key == "static-pod-path":
            if one.error:
                return None, 0
            for line in one.text.splitlines():
                found = re.match(r"(\d+): *staticPodPath: *[\"']?([^\"'#]*)", line)
                if found:
                    return found[2].strip(), int(found[1])
            return "", 0
    return None, 0


def _servers(answers: tuple[Answer, ...]) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for line in "\n".join(a.text for a in answers if a.key == "manifest-servers" and not a.error).splitlines():
        if match := re.match(r"(/[^:]+):(\d+):\s*server:\s*[\"']?([^\s\"']+)", line):
            found.setdefault(match[1], (match[3], int(match[2])))
    return found


@dataclass(frozen=True, kw_only=True)
class Images(HostFact[tuple[str, ...]]):
    """The names under which each node's runtime has images."""

    sources = (NodeCommand("images", ("crictl", "images", "-o", "json"), sudo=True, seconds=8, limit=1 << 20),)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> tuple[str, ...]:
        """The tags of all images."""
        try:
            listed = read_json(answer(answers, "images")).get("images") or []
            return tuple(str(tag) for image in listed for tag in (image.get("repoTags") or ()))
        except (AttributeError, TypeError) as exc:
            raise ValueError(f"no list of images: {exc}") from exc


def static_pod(component: str, node: str) -> Ref:
    """The pod that the kubelet makes of a component's manifest."""
    return Ref("Pod", f"{component}-{node}", "kube-system")


def stands_still(manifests: Manifests, component: str) -> tuple[Ref, ...]:
    """What stands still when one of a component's static pods does not run."""
    others = sum(1 for _, found in manifests if component in found.meant)
    if component in ("etcd", "kube-apiserver"):
        return (CLUSTER,) if others <= 1 else ()
    return (Ref("Lease", component, "kube-system"),) if component in COMPONENTS else ()


#: How long a component must have run for its manifest to be proven good, and how long the kubelet may take to see one.
_STEADY = 90
_NOTICED = 120


@dataclass(frozen=True, slots=True)
class Standing:
    """How a component does under its manifest. ``runs``: it works now, whatever its next start brings.

    ``proven``: it was started from the manifest as it is, and stayed up.
    """

    runs: bool = False
    proven: bool = False


def component_standing(
    manifest: Manifest, node: str, containers: Containers | None, pods: Pods | None, cluster: Cluster
) -> Standing:
    """Whether a component runs now, by its node's runtime or else by the API server."""
    changed = manifest.info.changed
    fresh = changed is not None and cluster.age(changed) < _NOTICED
    seen = containers.get(node) if containers else None
    if seen is not None and seen.listed:
        live = next((c for c in seen.of(manifest.component) if c.running), None)
        began = (live.started or live.created) if live else None
        if began is None:
            return Standing()
        newer = changed is not None and began > changed
        steady = cluster.age(began) > _STEADY
        return Standing(steady and (newer or not fresh), steady and newer)
    pod = pods.get(f"{manifest.component}-{node}", "kube-system") if pods else None
    return Standing(bool(pod and pod.ready and not fresh))


def component_seen(
    component: str, node: str, containers: Containers | None, pods: Pods | None, cluster: Cluster
) -> bool:
    """Whether anything tells how a component does. That the API server is dead tells it of that one and of etcd."""
    seen = containers.get(node) if containers else None
    pod = pods.get(f"{component}-{node}", "kube-system") if pods else None
    dead = bool(cluster.dead) and component in ("etcd", "kube-apiserver")
    return dead or pod is not None or bool(seen and seen.listed)


def manifest_severity(manifests: Manifests, component: str, now: Standing) -> Severity:
    """How bad it is that a component's manifest is wrong."""
    if now.runs:
        return Severity.WARNING
    if component not in COMPONENTS:
        return Severity.ERROR
    others = sum(1 for _, found in manifests if component in found.meant)
    return Severity.ERROR if others > 1 else Severity.CRITICAL


def manifest_subject(manifest: Manifest, node: str) -> Ref:
    """What a fault of a manifest is about: its pod, or the node where nobody can tell which pod was meant."""
    if manifest.component:
        return static_pod(manifest.component, node)
    return Ref("Pod", f"{manifest.name}-{node}", manifest.namespace) if manifest.name else Ref("Node", node)


def manifest_repair(node: str, manifest: Manifest, line: int, what: str) -> tuple[str, ...]:
    """The steps that correct a line of a manifest, and show whether that helped."""
    name = manifest.component or manifest.name or manifest.file
    return (
        f"ssh {node} sudoedit {manifest.path}    # line {line}: {what}",
        "the kubelet takes the change up by itself within 20 s; keep no copy of the file in that folder",
        f"ssh {node} sudo crictl ps -a --name {name}",
    )


@dataclass(frozen=True, slots=True)
class ServerURL:
    """One URL of a flag; ``fault`` says why it is none."""

    text: str
    scheme: str = ""
    host: str = ""
    port: int = 0
    fault: str = ""

    @property
    def loopback(self) -> bool:
        """Whether it leads to the machine itself."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    @property
    def anywhere(self) -> bool:
        """Whether it stands for all addresses of the machine."""
        return self.host in ("0.0.0.0", "::", "")  # noqa: S104

    @property
    def literal(self) -> bool:
        """Whether the host is an address and not a name."""
        return bool(re.fullmatch(r"\d+(\.\d+){3}|[0-9a-fA-F]*:[0-9a-fA-F:.]*", self.host))


_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>\[[^\]]*\]|[^:/?#\s]*)(?::(?P<port>[^/?#]*))?(?P<rest>.*)"
)


def server_urls(value: str, *, default: int = 0) -> tuple[ServerURL, ...]:
    """The URLs of a flag: scheme, host and port; ``default`` is the port of a URL that names none."""
    return tuple(_server_url(word.strip(), default) for word in value.split(",") if word.strip())


def agreed_server(manifests: Manifests | None) -> ServerURL | None:
    """Where at least two kubeconfigs of the nodes lead, and more than anywhere else."""
    votes: Counter[ServerURL] = Counter()
    for _, found in manifests or ():
        for server, _ in found.servers.values():
            votes.update(e for e in server_urls(server, default=443) if not e.fault and not e.loopback)
    most = votes.most_common(1)
    return most[0][0] if most and most[0][1] >= 2 else None


def _server_url(text: str, default: int) -> ServerURL:
    match = _URL.fullmatch(text)
    if not match:
        return ServerURL(text, fault="it is no URL such as https://127.0.0.1:2379")
    scheme, host, port = match["scheme"].lower(), match["host"].strip("[]"), match["port"]
    if scheme not in ("http", "https", "unix", "unixs"):
        return ServerURL(text, scheme, host, fault=f"{match['scheme']} is no scheme for it")
    if scheme.startswith("unix"):
        return ServerURL(text, scheme, host)
    if port is None and not default:
        return ServerURL(text, scheme, host, fault="it names no port")
    if port is not None and not (re.fullmatch(r"\d{1,6}", port) and 0 < int(port) < 65536):
        return ServerURL(text, scheme, host, fault=f'"{port}" is no port')
    number = int(port) if port else default
    if re.fullmatch(r"[\d.]+", host) and not re.fullmatch(
        r"(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}", host
    ):
        return ServerURL(text, scheme, host, number, fault=f"{host} is no address")
    return ServerURL(text, scheme, host, number)


def misplaced(manifest: Manifest, found: NodeManifests) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The volumes that show the wrong place, or the right one under a wrong path, each with the files that are lost.

    A file that a flag names is lost where the container has it not, while the node has it under that very path: the
    mount for it shows another place; or no mount covers it, and a volume of that place is mounted elsewhere.
    """
    lost: dict[str, list[str]] = {}
    for use in manifest.uses:
        there = found.state(use.inside)
        if not isinstance(there, FileInfo) or there.kind != "f":
            continue
        if use.volume and use.host and use.host != use.inside and not _filled(found.state(use.host)):
            lost.setdefault(use.volume, []).append(use.inside)
        elif not use.volume:
            for volume in manifest.host_volumes():
                root = volume.path.rstrip("/")
                mounts = [m.mount_path.rstrip("/") for m in manifest.container.volume_mounts if m.name == volume.name]
                if (use.inside == root or use.inside.startswith(root + "/")) and mounts and root not in mounts:
                    lost.setdefault(volume.name, []).append(use.inside)
                    break
    return tuple((name, tuple(dict.fromkeys(paths))) for name, paths in lost.items())


def _filled(state: FileInfo | bool | None) -> bool:
    """Whether a file has content, or nothing is known of it."""
    return state is None or (
        isinstance(state, FileInfo) and (state.kind != "f" or state.size > 0) and state.kind != "d"
    )
