"""The static pods' manifests of each node, as the kubelet reads them, and the files of the node that they name."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import msgspec

from kdiag.facts.base import NodeCommand, NodeFollow
from kdiag.facts.filelist import LISTED, FileInfo, listed
from kdiag.facts.hosts import Answer, HostFact, answer, safe_path
from kdiag.facts.nodefiles import (
    KUBELET_CONFIG,
    PUBLIC_PARTS,
    READ_INTERFACES,
    READ_KERNEL,
    READ_KUBELET_CONFIG,
    settings,
    show_certificates,
)
from kdiag.facts.podspec import PodSpec
from kdiag.facts.podyaml import Problem, YamlFault, pod_problems, read_yaml
from kdiag.facts.staticpods import Manifest
from kdiag.facts.system import COMPONENTS
from kdiag.facts.wire import convert, without_nulls
from kdiag.model.text import clean_line, shorten

FOLDER = "/etc/kubernetes/manifests"
_ROOT = "/etc/kubernetes"
_MOST_PATHS = 120
#: Where a manifest is put when somebody takes it out of the folder.
_PLACES = ("/tmp", "/root", "/home", "/etc/kubernetes", "/var/tmp")  # noqa: S108


@dataclass(frozen=True, kw_only=True)
class NodeManifests:
    """The folder of one node, and what its manifests name."""

    folder: str = FOLDER
    there: bool = True
    #: The folder that the kubelet's configuration names: None when that was not read, empty when it names none.
    declared: str | None = None
    declared_line: int = 0
    declared_in: str = KUBELET_CONFIG
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


class Manifests(HostFact[NodeManifests]):
    """The static pods' manifests, node by node."""

    sources = (
        NodeCommand(
            "manifest-files", ("find", f"{_ROOT}/", "-maxdepth", "3", "-printf", LISTED), sudo=True, limit=1 << 19
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
        NodeFollow("kubelet-config-folder"),
        # Of recordings made before those three were taken from what others read as well.
        *(NodeFollow(key) for key in ("static-pod-path", "capacity", "addresses")),
    )
    beside = frozenset({"kubelet-config", "kubelet-config-folder", "kernel", "interfaces"})

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> NodeManifests:
        """The folder, its files, and what is known of the files that they name."""
        declared, line, where = _declared(answers)
        first = _folder(answers, _other(answers, declared))
        asked = _asked(answers)
        host: dict[str, FileInfo | None] = dict.fromkeys(asked)
        seen = [a for a in answers if a.key == "manifest-paths" and not a.error]
        if seen:
            for info in listed(seen[0].text):
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
            declared_in=where,
            files=first.files,
            ignored=first.ignored,
            tree=first.tree,
            host=host,
            servers=_servers(answers),
            certificates=certificates,
            elsewhere=tuple(listed(found[0].text)) if found else None,
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


#: Flags of files that are kubeconfigs: they name a server.
_LEAD = (
    *("kubeconfig", "audit-webhook-config-file", "authentication-token-webhook-config-file"),
    "authorization-webhook-config-file",
)


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
            ("find", "-L", "/", "-maxdepth", "16", "(", *tests, ")", "-printf", LISTED, "-o", "-prune"),
            sudo=True,
            limit=1 << 19,
        )
    confs = [p for p, i in first.tree.items() if re.fullmatch(_ROOT + r"/[A-Za-z0-9_-]+\.conf", p) and i.kind == "f"]
    if confs:
        yield NodeCommand("manifest-servers", ("grep", "-Hn", "server:", *sorted(confs)[:12]), sudo=True)
    named = [u.host for m in first.files for u in m.uses if u.flag.name in _LEAD and safe_path(u.host)]
    if others := sorted({p for p in named if p not in confs})[:4]:
        yield NodeCommand(
            "manifest-servers", ("grep", "-Hn", "-o", "-E", PUBLIC_PARTS, *others), sudo=True, name="others"
        )
    folder = (_declared(answers)[0] or FOLDER).rstrip("/")
    if folder != FOLDER and safe_path(folder):
        # By their names: such a folder may hold anything, and no more of it is read.
        paths = tuple(f"{folder}/{component}.yaml" for component in COMPONENTS)
        listing = ("find", f"{folder}/", "-maxdepth", "1", "-printf", LISTED)
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
            ("find", *_PLACES, "-maxdepth", "3", "-type", "f", "(", *names, ")", "-printf", LISTED),
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
    inside = {i.path for i in listed(answer(answers, "manifest-other-files", folder))} if folder != FOLDER else set()
    held = [c for c in COMPONENTS if f"{folder}/{c}.yaml" in inside]
    return folder if held and any(a.key == "manifest-other" and not a.error for a in answers) else FOLDER


def _folder(answers: tuple[Answer, ...], folder: str = FOLDER) -> _Folder:
    """What a folder holds, with all that was listed of the node."""
    shown = "manifests" if folder == FOLDER else "manifest-other"
    return _read_folder(
        folder,
        answer(answers, "manifest-files"),
        "" if folder == FOLDER else answer(answers, "manifest-other-files", folder),
        answer(answers, shown),
        tuple((a.name, a.text) for a in answers if a.key == "manifest-linked" and not a.error),
        whole=any(a.key == shown and not a.error for a in answers),
    )


# Several facts go by the manifests, and each before and after the second round: one reading does for all of them.
@lru_cache(maxsize=256)
def _read_folder(
    folder: str, files_text: str, others_text: str, shown: str, linked: tuple[tuple[str, str], ...], *, whole: bool
) -> _Folder:
    tree = {info.path: info for info in listed(files_text)}
    if tree:
        tree.setdefault(_ROOT, FileInfo(path=_ROOT, kind="d"))
    tree |= {info.path: info for info in listed(others_text)}
    inside = [i for p, i in sorted(tree.items()) if p.startswith(folder + "/")]
    named = [i for i in inside if "/" not in i.path[len(folder) + 1 :]]
    contents = _contents(shown, {i.path for i in inside})
    for name, text in linked:
        contents |= _contents(text, {name})
    files: list[Manifest] = []
    ignored: list[FileInfo] = [i for i in inside if i not in named and i.kind != "d"]
    for info in named:
        if info.path[len(folder) + 1 :].startswith("."):
            ignored.append(info)
        elif info.kind != "d":
            files.append(_manifest(info, contents.get(info.path), whole=whole))
    return _Folder(tuple(files), tuple(ignored), tree, folder)


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
_IS_BINARY = re.compile(r"(?:grep: |Binary file )(.+?)(?:: binary file)? matches")
_LINE_NUMBER = re.compile(r":\d+:")


def _contents(text: str, paths: set[str]) -> dict[str, tuple[str, ...]]:
    """The lines of each file, of ``path:number:line``."""
    found: dict[str, list[str]] = {}
    for line in text.split("\n"):
        if line.endswith(" matches") and (match := _IS_BINARY.fullmatch(line)):
            if match[1] in paths:
                found[match[1]] = [_BINARY]
            continue
        for colon in _LINE_NUMBER.finditer(line):
            path = line[: colon.start()]
            if path in paths:
                found.setdefault(path, []).append(line[colon.end() :])
                break
    return {path: tuple(lines) for path, lines in found.items()}


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


def _declared(answers: tuple[Answer, ...]) -> tuple[str | None, int, str]:
    recorded = [a for a in answers if a.key == "static-pod-path"]
    for one in () if recorded else answers:
        if one.key == "kubelet-config":
            if one.error:
                return None, 0, KUBELET_CONFIG
            over = answer(answers, "kubelet-config-folder")
            declared = ("", 0, KUBELET_CONFIG)
            for path, number, line in settings(one.text, over, "^ *staticPodPath:"):
                if found := re.match(r" *staticPodPath: *[\"']?([^\"'#]*)", line):
                    declared = found[1].strip(), number, path
            return declared
    for one in recorded:
        if one.key == "static-pod-path":
            if one.error:
                return None, 0, KUBELET_CONFIG
            for line in one.text.splitlines():
                found = re.match(r"(\d+): *staticPodPath: *[\"']?([^\"'#]*)", line)
                if found:
                    return found[2].strip(), int(found[1]), KUBELET_CONFIG
            return "", 0, KUBELET_CONFIG
    return None, 0, KUBELET_CONFIG


def _servers(answers: tuple[Answer, ...]) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for line in "\n".join(a.text for a in answers if a.key == "manifest-servers" and not a.error).splitlines():
        if match := re.match(r"(/[^:]+):(\d+):\s*server:\s*[\"']?([^\s\"']+)", line):
            found.setdefault(match[1], (match[3], int(match[2])))
    return found


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
