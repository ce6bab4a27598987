"""A template refers to a variable as $(NAME) that its container does not define, so the words stay as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kdiag.check import DEPENDENT_FAILS, Evidence, Finding, Layer, Severity, check, kubectl, nearest, shorten
from kdiag.facts import (
    Cluster,
    ConfigMaps,
    Container,
    Logs,
    Owners,
    Pod,
    Pods,
    Services,
    as_variable,
    edit_template,
    is_shell,
    living,
)

#: $$(NAME) is written for $(NAME) itself. Small letters are mostly a shell's command: $(hostname).
_REFERENCE = re.compile(r"(?<!\$)\$\(([A-Z_][A-Z0-9_]{1,100})\)")
#: As a shell writes it, which Kubernetes does not replace.
_SHELL_REFERENCE = re.compile(
    r"(?<![$\\])\$(?:\{(?P<braced>[A-Z_][A-Z0-9_]{1,100})\}|(?P<plain>[A-Z_][A-Z0-9_]{1,100}))"
)


@check(
    title="Template refers to a variable that is not defined",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=(*DEPENDENT_FAILS, "application/dependency_name_unresolved", "application/dependency_unreachable"),
    tags=("config", "command"),
)
def variable_reference_undefined(
    pods: Pods, services: Services, owners: Owners, cluster: Cluster, configmaps: ConfigMaps | None, logs: Logs | None
) -> Iterator[Finding]:
    """Programs may expand it themselves: a near miss, an order that cannot work or a container that fails tells.

    $NAME and ${NAME} are the shell's: they count where a container that is not ready says them in its log.
    """
    for group in pods.templates:
        pod = living(group)
        if pod is None:
            continue
        for container in pod.spec.all_containers:
            if unread := _taken_literally(container, group, logs):
                yield _finding(pod, owners, container, unread, hurt=True)
                continue
            if not _refers(container):
                continue
            failing = {s.name for p in group for s in p.all_statuses if not s.ready and s.restart_count}
            for lost in _lost(container, pod, services, configmaps):
                hurt = container.name in failing
                if not (lost.meant or lost.later or hurt):
                    continue
                fresh = cluster.fresh(pod.created) and lost.where.startswith("env ")
                yield _finding(pod, owners, container, lost, hurt=hurt or fresh)
                break


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lost:
    """A reference that stays as it is written: where, and what was probably meant."""

    name: str
    where: str
    text: str
    meant: str = ""
    later: bool = False
    shell: str = ""  # as it is written, where that is the way of a shell


def _taken_literally(container: Container, group: Sequence[Pod], logs: Logs | None) -> _Lost | None:
    """A reference in the way of a shell which the program got as it is written, and which it says in its log."""
    texts = [(f"env {e.name}", e.value) for e in container.env if "$" in e.value]
    if not any(map(is_shell, container.command[:1])):
        texts += [("its command line", word) for word in (*container.command, *container.args) if "$" in word]
    if logs is None or not texts:
        return None
    unready = [p for p in group if not p.ready and not p.terminating][:5]
    lines = [line.text for p in unready for line in logs.lines(p.namespace, p.name, container.name)]
    for where, text in texts:
        for match in _SHELL_REFERENCE.finditer(text):
            if any(match[0] in line for line in lines):
                name = match["braced"] or match["plain"]
                return _Lost(name=name, where=where, text=text, shell=match[0])
    return None


def _lost(container: Container, pod: Pod, services: Services, configmaps: ConfigMaps | None) -> Iterator[_Lost]:
    known, whole = _from_whole(container, pod.namespace, configmaps)
    links = _links(pod, services)
    every = [e.name for e in container.env]
    for number, env in enumerate(container.env):
        for name in _REFERENCE.findall(env.value):
            if name in known or name in every[:number] or _linked(name, links):
                continue
            later = name in every[number:]
            meant = "" if later else _near(name, [*known, *every[:number], *links])
            if later or meant or whole:
                yield _Lost(name=name, where=f"env {env.name}", text=env.value, meant=meant, later=later)
    words = (*container.command, *container.args)
    if any(map(is_shell, container.command[:1])) or "-c" in words:
        return  # a shell takes $(NAME) for a command of its own
    for word in words:
        for name in _REFERENCE.findall(word):
            if name in known or name in every or _linked(name, links):
                continue
            meant = _near(name, [*known, *every, *links])
            if meant or whole:
                yield _Lost(name=name, where="its command line", text=word, meant=meant)


def _refers(container: Container) -> bool:
    """Whether it has a reference at all, which few have."""
    return any("$(" in text for text in (*container.command, *container.args, *(e.value for e in container.env)))


def _near(name: str, candidates: list[str]) -> str:
    return nearest(name, [c for c in candidates if abs(len(c) - len(name)) <= 2]) or ""


def _from_whole(container: Container, namespace: str, configmaps: ConfigMaps | None) -> tuple[set[str], bool]:
    """The variables from whole ConfigMaps, and whether those are all: what a whole Secret brings is not read."""
    found: set[str] = set()
    whole = True
    for source in container.env_from:
        ref = source.config_map_ref
        config = configmaps.get(ref.name, namespace) if ref and configmaps else None
        found |= {source.prefix + key for key in config.keys} if config else set()
        whole &= config is not None
    return found, whole


def _links(pod: Pod, services: Services) -> list[str]:
    """The variables that the kubelet adds for each Service of the namespace, and for the API server."""
    names = [s.name for s in services.within(pod.namespace) if not s.headless and not s.external]
    words = [as_variable(n) for n in (*names, "kubernetes")]
    return [f"{w}{end}" for w in words for end in ("_SERVICE_HOST", "_SERVICE_PORT", "_PORT")]


def _linked(name: str, links: list[str]) -> bool:
    return any(name == link or name.startswith(f"{link}_") for link in links)


def _finding(pod: Pod, owners: Owners, container: Container, lost: _Lost, *, hurt: bool) -> Finding:
    owner, namespace = owners.top(pod), pod.namespace
    why = "is defined after it" if lost.later else "the container does not define"
    said = f"$({lost.name}), which {why}" + (f"; {lost.meant} is there" if lost.meant else "")
    if lost.shell:
        said = f"{lost.shell}, which nobody replaces: there is no shell, and Kubernetes replaces $({lost.name})"
    hint = f"{lost.name} → {lost.meant}" if lost.meant else ""
    hint = f"put {lost.name} before it" if lost.later else f"{lost.shell} → $({lost.name})" if lost.shell else hint
    where = f" of container {container.name}" if len(pod.spec.containers) > 1 else ""
    return Finding(
        owner,
        f"{owner}: {lost.where}{where} refers to {said}",
        evidence=(
            Evidence(
                kubectl("get", "pod", pod.name, "-o", "yaml", namespace=namespace),
                f"{lost.where}: {shorten(lost.text, 100)}: the program gets it as it is written",
            ),
        ),
        next=(edit_template(owner, hint),),
        touches=(pod.ref(),),
        key=f"{container.name} {lost.where}",
        severity=Severity.ERROR if hurt else Severity.WARNING,
    )
