"""An init container waits for something that does not come, so the pod's own containers never start."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, nearest, shorten
from kdiag.facts import (
    Events,
    Failure,
    Failures,
    Fault,
    Jobs,
    LogLine,
    Logs,
    Namespaces,
    Services,
    answers_itself,
    awaited_job,
    edit,
    touched,
)


@check(
    title="Init container waits in vain",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains_here=("application/pod_not_ready", "application/workload_unavailable", "application/job_failed"),
    explains=(),  # it may wait for a Service whose own pods are not ready
    tags=(
        "init",
        "dependency",
        "dns",
    ),
)
def init_container_waits(
    failures: Failures,
    events: Events | None,
    logs: Logs | None,
    services: Services | None,
    namespaces: Namespaces | None,
    jobs: Jobs | None,
) -> Iterator[Finding]:
    """Its command and log name what it waits for; the lists of Services and Jobs say whether there is such a thing."""
    for group in failures.of(Fault.INIT_WAITS, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        command = " ".join([*one.spec.command, *one.spec.args])
        target: Ref | None
        if job := awaited_job(one.spec, namespace, jobs):
            what, target = f"{job.ref()}, which {'has failed' if job.failed else 'has not completed'}", job.ref()
        else:
            what, target = _target(command, [line.text for line in one.log], namespace, services, namespaces)
            wrong = _own_fault(one.log)
            if wrong and not (target and services and services.get(target.name, target.namespace) is None):
                yield _never(group, command, wrong)
                continue
        named = target is not None and target.kind == "Service"
        service = services.get(target.name, target.namespace) if target and named and services else None
        if service and answers_itself(service, one.owner, failures.pods, failures.owners):
            continue  # that is a fault of its own
        yield Finding(
            one.owner,
            f"{one.where} " + (f"waits for {what}" if what else "has not ended, and nothing after it starts"),
            evidence=(
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
                Evidence("", f"command: {shorten(command, 160)}" if command else f"the entrypoint of {one.spec.image}"),
                Evidence(
                    kubectl("logs", one.pod.name, "-c", one.container, "--tail=5", namespace=namespace),
                    one.text or "nothing in the log",
                ),
            ),
            next=(
                kubectl("describe", "job", target.name, namespace=namespace)
                if target and target.kind == "Job"
                else kubectl("get", "services,endpointslices", namespace=target.namespace if target else namespace),
                kubectl("logs", one.pod.name, "-c", one.container, "--tail=20", namespace=namespace),
            ),
            touches=touched(group, *([target] if target else [])),
            key=one.container,
            since=one.started,
            container=one.container,
        )


#: What a shell says of a command that it does not have, and a command of what it was told.
_NO_COMMAND = re.compile(r"\bsh: (?:(?:line )?\d+: )?(?P<name>[\w.+-]{1,60}): (?:command )?not found$")
_NO_OPTION = re.compile(r"(?i)\b(?:invalid|unrecogni[sz]ed|illegal|unknown) option\b|\boption requires an argument\b")


def _own_fault(log: Sequence[LogLine]) -> str:
    """What a loop says each time round because its own command is wrong: then it never sees what it waits for."""
    said = [line.text.strip() for line in log]
    for text in reversed(said):
        if (_NO_COMMAND.search(text) or _NO_OPTION.search(text)) and said.count(text) > 1:
            return text
    return ""


def _never(group: list[Failure], command: str, wrong: str) -> Finding:
    one = group[0]
    namespace = one.pod.namespace
    missing = _NO_COMMAND.search(wrong)
    why = f"its image has no {missing['name']}" if missing else shorten(wrong, 100)
    return Finding(
        one.owner,
        f"{one.where} can never see what it waits for, its own command fails: {why}",
        evidence=(
            Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
            Evidence("", f"command: {shorten(command, 160)}" if command else f"the entrypoint of {one.spec.image}"),
            Evidence(kubectl("logs", one.pod.name, "-c", one.container, "--tail=5", namespace=namespace), wrong),
        ),
        next=(
            edit(one, f"another image, or a command without {missing['name']}" if missing else "its command"),
            kubectl("logs", one.pod.name, "-c", one.container, "--tail=20", namespace=namespace),
        ),
        touches=touched(group),
        key=one.container,
        since=one.started,
        container=one.container,
        own=True,
    )


_NAMED = re.compile(
    r"(?:nslookup|getent hosts|dig|host|ping(?: -c ?\d+)?|nc(?: -\S+(?: \d+)?)*|telnet"
    r"|redis-cli -h|(?:pg_isready|mysqladmin)(?: \S+)*? -h"
    r"|https?://|tcp://|/dev/tcp/|(?:can't find|can't resolve|bad address"
    r"|could not resolve(?: host:)?|lookup|to) ['\"]?)"
    r"\s*(?P<host>[A-Za-z][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)*)"
)


def _target(
    command: str, log: list[str], namespace: str, services: Services | None, namespaces: Namespaces | None
) -> tuple[str, Ref | None]:
    """What is waited for, in words, and the Service that it is or would be."""
    for text in (command, *reversed(log)):
        match = _NAMED.search(text)
        if not match or match["host"].lower() in ("localhost", "echo", "server", "address", "http", "https"):
            continue
        host = match["host"]
        labels = host.split(".")
        inside = len(labels) == 1 or (len(labels) > 2 and labels[2] == "svc")
        if len(labels) == 2 and namespaces and namespaces.get(labels[1]):
            inside = True
        if not inside:
            return host, None
        home = labels[1] if len(labels) > 1 else namespace
        target = Ref("Service", labels[0], home)
        if services is None or not services.covers(home):
            return f"Service {home}/{labels[0]}", target
        if services.get(labels[0], home):
            return f"Service {home}/{labels[0]}, which is there but does not answer", target
        meant = nearest(labels[0], [s.name for s in services.within(home)])
        return f"Service {home}/{labels[0]}, which does not exist" + (f"; {meant} does" if meant else ""), target
    return "", None
