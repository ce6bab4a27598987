"""What the last words of a program point at in its own template: who gave it a setting, where the file is instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kdiag.facts.configuration import ConfigMaps
from kdiag.facts.faults import Failure
from kdiag.facts.network import Services, as_variable
from kdiag.facts.podspec import Volume, VolumeMount, is_shell
from kdiag.model.text import distance, shorten

_LAST = 20
#: A file that is looked for and not needed is told of, too: only what was said at the very end counts.
_END = 3
_LIVES_ON = re.compile(r"(?i)using (?:\S+ )?default|\bdefaults\b|fall(?:ing)? ?back|\btrying\b|\bignor|\bskip|\bwarn")
#: What the kubelet sets in NAME_PORT for each Service of the namespace.
_LINK = re.compile(r"\b(?P<scheme>tcp|udp|sctp)://(?P<ip>[0-9a-fA-F.:]+?|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})\b")
_NO_NUMBER = re.compile(
    r"(?i)invalid|pars(?:e|ing)|convert|cast|coerc|number|integer|\bint\b|numeric|malformed|bad (?:port|value)|bad_port"
    r"|out of range|expected|unmarshal|not a |wrong type|illegal"
)
_MISSING = re.compile(
    r"(?i)no such file|not found|(?:can(?:no|')t|could ?n[o']t|unable to|failed to) (?:find|open|read|load|access|stat)"
    r"|do(?:es|es ?n[o']t|) (?:not )?exist|ENOENT|FileNotFound|NoSuchFile"
)
_PATH = re.compile(r"(?<![\w.:/~$}])/(?:[\w.@+-]+/){1,20}[\w.@+-]*[\w@+-]")
_NO_KIND = re.compile(
    r'no matches for kind \\{0,4}"(?P<kind>\w{1,63})\\{0,4}" in version \\{0,4}"(?P<version>[\w./-]{1,300}?)\\{0,4}"'
)
#: How clients of the API say that it does not know who they are.
_UNKNOWN = re.compile(
    r"You must be logged in to the server|asked for the client to provide credentials|^(?:error: )?Unauthorized$"
    r"|[\"']?(?:reason|message)[\"']?: ?[\"']Unauthorized"
)
_REFUSED = re.compile(r"(?i)operation not permitted|permission denied|EPERM")
#: What a call of the kernel wants, by a word of who was refused it.
_CAPABILITIES = (
    (re.compile(r"(?i)chown"), "CHOWN"),
    (re.compile(r"(?i)setgroups|setgid|initgroups"), "SETGID"),
    (re.compile(r"(?i)setuid"), "SETUID"),
    (re.compile(r"(?i)\bbind\b"), "NET_BIND_SERVICE"),
    (re.compile(r"(?i)raw socket|\bping\b|SOCK_RAW"), "NET_RAW"),
    (re.compile(r"(?i)iptables|nftables|netlink|RTNETLINK"), "NET_ADMIN"),
    (re.compile(r"(?i)chmod|fchmod"), "FOWNER"),
)


@dataclass(frozen=True, slots=True)
class Clue:
    """What in the template explains the last words of a program, and what of the template to change."""

    text: str
    change: str


def clue(failure: Failure, configmaps: ConfigMaps | None, services: Services | None) -> Clue | None:
    """The first that there is; None for most programs."""
    return (
        _shell_words(failure)
        or _service_link(failure, services)
        or _misplaced(failure, configmaps)
        or _capability(failure)
        or _audience(failure)
        or _unknown_kind(failure)
    )


def _lines(failure: Failure, last: int) -> Iterator[str]:
    """The line that says most, and the last ones."""
    yield failure.text
    for line in reversed(failure.log[-last:]):
        yield line.text


def _shell_words(failure: Failure) -> Clue | None:
    """``sh -c`` takes one word for its script: what follows are the script's parameters, not the command's."""
    words = (*failure.spec.command, *failure.spec.args)
    if len(words) < 4 or not is_shell(words[0]) or words[1] != "-c":
        return None
    script, *rest = words[2:]
    if re.search(r"[\s$;&|]", script):
        return None
    return Clue(
        f"{words[0]} -c runs {script} without its arguments", f'one word: "{shorten(" ".join((script, *rest)), 80)}"'
    )


def _service_link(failure: Failure, services: Services | None) -> Clue | None:
    """A program that reads ``REDIS_PORT`` as its own, where the Service ``redis`` makes it ``tcp://10.96.0.9:6379``."""
    mine = services.within(failure.pod.namespace) if services else ()
    for text in _lines(failure, _LAST):
        for match in _LINK.finditer(text) if mine and _NO_NUMBER.search(text) else ():
            address, port = match["ip"].strip("[]"), int(match["port"])
            found = next((s for s in mine if s.spec.cluster_ip == address), None)
            if found is None or found.port(port) is None:
                continue
            variable = f"{as_variable(found.name)}_PORT"
            if any(e.name == variable for e in failure.spec.env):
                continue  # it was told so by its own template
            return Clue(
                f"{variable} comes from Service {found.name} (enableServiceLinks)",
                f"enableServiceLinks: false, or {variable} in its own env",
            )
    return None


def _misplaced(failure: Failure, configmaps: ConfigMaps | None) -> Clue | None:
    """A file that is not where the program looks, and is elsewhere by the template, or would be."""
    for text in _lines(failure, _END):
        if not _MISSING.search(text) or _LIVES_ON.search(text):
            continue
        for match in _PATH.finditer(text):
            if found := _instead(failure, match[0], configmaps):
                return found
    return None


def _instead(failure: Failure, path: str, configmaps: ConfigMaps | None) -> Clue | None:
    volumes = {v.name: v for v in failure.pod.spec.volumes}
    mounts = [(m, volumes[m.name]) for m in failure.spec.volume_mounts if m.name in volumes]
    files = {f: (what, m) for m, v in mounts for f, what in _files(m, v, failure.pod.namespace, configmaps)}
    if path in files:
        return None
    folder, _, name = path.rpartition("/")
    same = [f for f in files if f.rpartition("/")[2] == name]
    if len(same) == 1:
        what, mount = files[same[0]]
        return Clue(f"{what} shows it at {same[0]}", f"mountPath {mount.mount_path}; it reads {path}")
    if absent := _absent(failure, path, mounts, configmaps):
        return absent
    beside = [f for f in files if f.rpartition("/")[0] == folder]
    if len(beside) == 1:
        what, _ = files[beside[0]]
        return Clue(f"{what} is there as {beside[0]}", f"the key and items of {what}; it reads {path}")
    if any(_covers(m.mount_path, path) for m, _ in mounts):
        return None
    if shared := _shared(failure, path):
        return shared
    for mount, volume in mounts:
        if (what := _source(volume)) and _misspelt(mount.mount_path, path):
            return Clue(f"{what} is mounted at {mount.mount_path}", f"mountPath {mount.mount_path}; it reads {path}")
    return None


def _shared(failure: Failure, path: str) -> Clue | None:
    """A volume that another container of the pod has at the place where this one looks."""
    for other in failure.pod.spec.all_containers:
        if other.name == failure.container:
            continue
        theirs = next((m for m in other.volume_mounts if not m.sub_path and _covers(m.mount_path, path)), None)
        if theirs is None:
            continue
        mine = next((m.mount_path for m in failure.spec.volume_mounts if m.name == theirs.name), "")
        here = f"it has it at {mine}" if mine else "it does not mount it"
        return Clue(
            f"container {other.name} has volume {theirs.name} at {theirs.mount_path}, {here}",
            f"volumeMounts of {failure.container}: {theirs.name} at {theirs.mount_path}",
        )
    return None


def _files(
    mount: VolumeMount, volume: Volume, namespace: str, configmaps: ConfigMaps | None
) -> Iterator[tuple[str, str]]:
    """Each file that a mount is known to show, and what it is from."""
    parts = volume.projected.sources if volume.projected else ()
    maps = [s for s in (volume.config_map, *(p.config_map for p in parts)) if s]
    secrets = [s for s in (volume.secret, *(p.secret for p in parts)) if s]
    shown = [(i.path, f"Secret {s.secret_name or s.name}") for s in secrets for i in s.items]
    for source in maps:
        found = configmaps.get(source.name, namespace) if configmaps else None
        keys = [i.path for i in source.items] or list(found.keys if found else ())
        shown += [(path, f"ConfigMap {source.name}") for path in keys]
    place = mount.mount_path.rstrip("/")
    for path, what in shown:
        if not mount.sub_path:
            yield f"{place}/{path}", what
        elif path == mount.sub_path.strip("/"):
            yield place, what


def _absent(
    failure: Failure, path: str, mounts: list[tuple[VolumeMount, Volume]], configmaps: ConfigMaps | None
) -> Clue | None:
    """The optional ConfigMap that would have had it."""
    for mount, volume in mounts:
        source = volume.config_map
        if configmaps is None or configmaps.gaps or source is None or not source.optional:
            continue
        if _covers(mount.mount_path, path) and configmaps.get(source.name, failure.pod.namespace) is None:
            key = path.rpartition("/")[2]
            return Clue(f"ConfigMap {source.name}, optional here, does not exist", f"it wants {key} of that ConfigMap")
    return None


def _covers(mount: str, path: str) -> bool:
    return f"{path}/".startswith(f"{mount.rstrip('/')}/")


def _misspelt(mount: str, path: str) -> bool:
    """Whether a mount's path is nearly the beginning of another."""
    ours, parts = mount.strip("/"), path.strip("/").split("/")
    same = "/".join(parts[: len(ours.split("/"))])
    return len(ours) >= 4 and len(parts) > 1 and 0 < distance(ours, same, 2) <= 2


def _source(volume: Volume) -> str:
    if volume.config_map:
        return f"ConfigMap {volume.config_map.name}"
    if volume.secret:
        return f"Secret {volume.secret.secret_name}"
    if volume.persistent_volume_claim:
        return f"claim {volume.persistent_volume_claim.claim_name}"
    return ""


def _capability(failure: Failure) -> Clue | None:
    """What the container may not do because its capabilities were dropped."""
    held = failure.spec.security_context.capabilities
    if held is None or not held.drop or not _REFUSED.search(failure.text):
        return None
    dropped = {name.upper() for name in held.drop}
    for words, name in _CAPABILITIES:
        if words.search(failure.text) and dropped & {"ALL", name} and name not in (held.add or ()):
            return Clue(f"its capabilities lack {name}", f"capabilities: add {name}")
    return None


def _audience(failure: Failure) -> Clue | None:
    """The API server takes no token that was made for somebody else, and the container has no other."""
    if not _UNKNOWN.search(failure.text):
        return None
    volumes = {v.name: v for v in failure.pod.spec.volumes}
    found: list[tuple[str, str]] = []
    for mount in failure.spec.volume_mounts:
        volume = volumes.get(mount.name)
        for part in volume.projected.sources if volume and volume.projected else ():
            if token := part.service_account_token:
                found.append((token.audience, f"{mount.mount_path.rstrip('/')}/{token.path}"))
    if not found or not all(audience for audience, _ in found):
        return None
    audience, path = found[0]
    return Clue(f"its token {path} is for audience {shorten(audience, 60)}", f"no audience for {path}")


def _unknown_kind(failure: Failure) -> Clue | None:
    """An operator that starts without the definitions of its kinds says so, and then that it waited in vain."""
    for text in _lines(failure, _LAST):
        if found := _NO_KIND.search(text):
            what = f"{found['kind']} in version {found['version']}"
            if what in failure.text.replace("\\", "").replace('"', ""):
                return None  # it is quoted as it is
            return Clue(
                f"the API server has no kind {what}",
                f"or install the CustomResourceDefinition of {found['kind']}, which its release brings",
            )
    return None
