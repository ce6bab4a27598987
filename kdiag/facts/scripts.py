"""Scripts that a container runs from a ConfigMap, and what of their text or mode keeps them from running."""

from __future__ import annotations

import dataclasses
import re

from kdiag.facts.configuration import ConfigMaps, MountedFile
from kdiag.facts.faults import BrokenScript, Failure, Fault
from kdiag.facts.podspec import is_shell

#: A carriage return, as facts have it.
_RETURN = "␍"
#: What a script that cannot be run looks like to the kubelet.
_SCRIPTS = frozenset({Fault.COMMAND_NOT_FOUND, Fault.WRONG_ARCHITECTURE, Fault.CRASH, Fault.INIT_FAILS})


def with_script(failure: Failure, configmaps: ConfigMaps) -> Failure:
    """The failure, or in its place that of the script which its container runs."""
    script = _broken(failure, configmaps) if failure.fault in _SCRIPTS else None
    if script is None:
        return failure
    return dataclasses.replace(failure, fault=Fault.SCRIPT, about=script.path, key="", script=script)


def _broken(failure: Failure, configmaps: ConfigMaps) -> BrokenScript | None:
    """What is wrong with the script of a failing container: its line ends, its first line or its mode."""
    spec = failure.spec
    words = [*spec.command, *spec.args]
    for number, (path, shell) in enumerate(_paths(words)):
        file = configmaps.mounted(failure.pod.spec, spec, failure.pod.namespace, path)
        if file is None or not file.text:
            continue
        by_kernel = not shell and (number == 0 or failure.about == path)
        if why := _why(file, failure, by_kernel=by_kernel, shell=shell):
            return BrokenScript(path=path, config=file.config, key=file.key, why=why, mode=why.startswith("has mode"))
    return None


def from_configmap(failure: Failure) -> str:
    """The program that a container runs from a ConfigMap's volume, whatever is in it; empty for one of its image."""
    volumes = {v.name for v in failure.pod.spec.volumes if v.config_map or v.projected}
    places = [m.mount_path.rstrip("/") for m in failure.spec.volume_mounts if m.name in volumes]
    words = [failure.about, *failure.spec.command[:1], *failure.spec.args[:1]]
    return next((w for w in words if any(w == p or w.startswith(f"{p}/") for p in places if p)), "")


def _paths(words: list[str]) -> list[tuple[str, bool]]:
    """The files that a command names, each with whether a shell is what reads it."""
    found: list[tuple[str, bool]] = []
    shell = bool(words) and is_shell(words[0])
    for number, word in enumerate(words[:20]):
        if shell and number and words[number - 1].startswith("-") and words[number - 1].endswith("c"):
            line = word[:2000].split()
            for at, part in enumerate(line):
                before = line[at - 1].rpartition("/")[2] if at else ""
                if part.startswith("/") and (not before or is_shell(before) or before in {"exec", ".", "&&", ";"}):
                    found.append((part.rstrip(";"), is_shell(before) or before == "."))
        elif word.startswith("/") and (number == 0 or (shell and number == 1)):
            found.append((word, shell and number == 1))
    return found


def _why(file: MountedFile, failure: Failure, *, by_kernel: bool, shell: bool) -> str:
    text = file.text.replace("\r", _RETURN)
    first = text.split("\n", 1)[0]
    ends = text.count(_RETURN + "\n") * 2 > text.count("\n") if shell else first.endswith(_RETURN)
    if ends and (shell or first.startswith("#!")):
        return "has Windows line ends (CRLF)"
    if shell:
        return ""
    said = failure.text.lower()
    if "permission denied" in said and not file.mode & 0o111:
        return f"has mode {file.mode:04o} and may not be executed"
    if "exec format error" in said and not text.startswith("#!"):
        return "begins with a byte order mark" if text.startswith("\ufeff") else "has no #! in its first line"
    if by_kernel and "no such file or directory" in said and (asked := re.match(r"#!\s*(\S+)", first)):
        return f"asks for {asked[1]} in its first line, which the image does not have"
    return ""
