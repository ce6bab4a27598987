"""A container's command does not exist in its image, or may not be executed."""

from __future__ import annotations

import json
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, present, shorten
from kdiag.facts import (
    BrokenScript,
    ConfigMaps,
    Container,
    Events,
    Failure,
    Failures,
    Fault,
    Logs,
    VolumeMount,
    edit,
    touched,
)

#: Where images have their programs.
_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


@check(
    title="Container command cannot be executed",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "command",
        "crash",
    ),
)
def container_command_not_found(
    failures: Failures, events: Events | None, logs: Logs | None, configmaps: ConfigMaps | None
) -> Iterator[Finding]:
    """The runtime says which file it looked for; a shell inside says it with exit code 126 or 127."""
    for group in failures.of(Fault.SCRIPT, events, logs, configmaps):
        if script := group[0].script:
            yield _unusable(group, script)
    for group in failures.of(Fault.COMMAND_NOT_FOUND, events, logs, configmaps):
        one = group[0]
        namespace = one.pod.namespace
        spec = one.spec
        typed = [*spec.command, *spec.args]
        where = "the command of the template" if spec.command else "the image's entrypoint" if not spec.args else "args"
        why = {"permission denied": "it may not be executed", "Permission denied": "it may not be executed"}.get(
            one.key, ""
        )
        hidden = _hidden(one.about, spec)
        if one.key == "interpreter":
            why = "it is there, but not what its first line or its linker asks for (or its line ends are CRLF)"
        why = why or ("no command is given and the image has none" if "no command" in one.key else "not in the image")
        if why == "not in the image" and hidden:
            why = f"volume {hidden.name} is mounted over {hidden.mount_path} and does not have it"
        if one.end and one.end.exit_code in (126, 127) and one.end.reason == "Error":
            why += f" (exit code {one.end.exit_code})"
        message = f"{one.where} cannot run {one.about or 'its command'}: {why}"
        if " " in one.about.strip():
            mark = "'" if '"' in one.about else '"'
            name = f"{mark}{shorten(one.about, 60)}{mark}"
            message = f"{one.where} takes {name} for one file name: its words are not separated"
        yield Finding(
            one.owner,
            message,
            evidence=present(
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
                Evidence(
                    kubectl(*(one.log_command if one.log else ("describe", "pod", one.pod.name)), namespace=namespace),
                    one.said,
                ),
                Evidence("", f"{where}: {shorten(json.dumps(typed), 160)}" if typed else f"{where} of {spec.image}"),
                Evidence("", f"volume {hidden.name} at mountPath {hidden.mount_path}") if hidden else None,
            ),
            next=(
                edit(one, "mountPath" if hidden else ""),
                kubectl(
                    "run",
                    "look",
                    "--rm",
                    "-it",
                    "--restart=Never",
                    f"--image={spec.image}",
                    "--command",
                    "--",
                    "sh",
                    namespace=namespace,
                ),
            ),
            touches=touched(group),
            key=one.container,
            since=one.started,
        )


def _unusable(group: list[Failure], script: BrokenScript) -> Finding:
    """A script from a ConfigMap whose text or mode keeps it from running: the runtime's own words mislead here."""
    one = group[0]
    namespace, config = one.pod.namespace, script.config
    source = kubectl("get", "configmap", config.name, "-o", "yaml", namespace=namespace)
    change = kubectl("edit", "configmap", config.name, namespace=namespace)
    if script.mode:
        steps: tuple[str, ...] = (edit(one, "defaultMode: 0755 of the ConfigMap's volume"),)
    elif "CRLF" in script.why:
        clean = f"kubectl -n {namespace} get configmap {config.name} -o yaml | sed 's/\\\\r//g' | kubectl replace -f -"
        steps = (clean + "   # takes every \\r out",)
    else:
        steps = (change + f"   # the first line of {script.key}",)
    restart = f"{one.owner.kind.lower()}/{one.owner.name}"
    if not script.mode and one.owner.kind in ("Deployment", "StatefulSet", "DaemonSet"):
        steps += (kubectl("rollout", "restart", restart, namespace=namespace),)
    said = one.log_command if one.log else ("describe", "pod", one.pod.name)
    return Finding(
        one.owner,
        f"{one.where} cannot run {script.path}: key {script.key} of ConfigMap {config.name} {script.why}",
        evidence=present(
            Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
            Evidence(kubectl(*said, namespace=namespace), one.said) if one.said else None,
            Evidence(source, f"{script.key}: {script.why}"),
        ),
        next=steps,
        touches=(*touched(group), config.ref()),
        key=one.container,
        since=one.started,
    )


def _hidden(program: str, container: Container) -> VolumeMount | None:
    """The volume that takes the place of the directory in which the image has its programs, or this one."""
    folders = [program.rpartition("/")[0]] if program.startswith("/") else list(_PATH) if "/" not in program else []
    for mount in container.volume_mounts:
        place = mount.mount_path.rstrip("/")
        if not mount.sub_path and place and any(f"{folder}/".startswith(f"{place}/") for folder in folders):
            return mount
    return None
