"""A program looks for the token of its service account, and the pod does not mount one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, present, shorten
from kdiag.facts import Complaints, Container, LogLine, Pod, ServiceAccounts

_PLACE = "/var/run/secrets/kubernetes.io/serviceaccount"
#: What clients of the API say without a token. kubectl, which finds no configuration either, asks localhost.
_SAYS = re.compile(
    rf"{_PLACE}/?(?:token|ca\.crt|namespace)?\b[^\n]{{0,80}}"
    r"(?:[Nn]o such file|not found|ENOENT|does not exist|NoSuchFile)"
    rf"|(?:ENOENT|No such file or directory|FileNotFound|NoSuchFile)[^\n]{{0,80}}{_PLACE}"
    r"|Service token file does not exist"
    r"|The connection to the server localhost:8080 was refused - did you specify the right host or port"
)


@check(
    title="Service account token is not mounted",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    explains_here=(
        "application/container_crashes",
        "application/container_exits_cleanly",
        "application/dependency_unreachable",
        "application/init_container_fails",
        "application/workload_unavailable",
    ),
    tags=("access", "config"),
)
def service_account_token_absent(complaints: Complaints, accounts: ServiceAccounts | None) -> Iterator[Finding]:
    """A pod that needs no token had better not have one: only the log tells that its program looks for it."""
    seen: set[tuple[Ref, str]] = set()
    for log in complaints.logs.items:
        pod = complaints.pods.get(log.pod, log.namespace)
        container = pod.spec.container(log.container) if pod else None
        if pod is None or container is None or pod.terminating or _has_token(container):
            continue
        off = _switched_off(pod, accounts)
        if off is None:
            continue
        workload = complaints.owners.top(pod)
        line = next(complaints.recent(pod, container.name, _SAYS), None)
        if line is None or (workload, container.name) in seen:
            continue
        seen.add((workload, container.name))
        yield _finding(pod, workload, container, line, off)


def _has_token(container: Container) -> bool:
    return any(m.mount_path.rstrip("/") in (_PLACE, _PLACE.replace("/var", "", 1)) for m in container.volume_mounts)


def _switched_off(pod: Pod, accounts: ServiceAccounts | None) -> Ref | None:
    """What keeps the token out: the pod's template (then the pod itself stands for it), or its service account."""
    account = accounts.get(pod.spec.service_account_name or "default", pod.namespace) if accounts else None
    if pod.spec.automount_service_account_token is False:
        return pod.ref()
    off = account is not None and account.automount_service_account_token is False
    return account.ref() if account and off and pod.spec.automount_service_account_token is None else None


def _finding(pod: Pod, workload: Ref, container: Container, line: LogLine, off: Ref) -> Finding:
    namespace, name = pod.namespace, pod.spec.service_account_name or "default"
    by_account = off.kind == "ServiceAccount"
    whose = str(off) if by_account else "its template"
    edit = ("serviceaccount", name) if by_account else (workload.kind.lower(), workload.name)
    more = ("-c", container.name) if len(pod.spec.all_containers) > 1 else ()
    return Finding(
        workload,
        f"{workload} looks for the token of its service account and has none:"
        f" {whose} says automountServiceAccountToken: false",
        evidence=(
            Evidence(
                kubectl("logs", pod.name, *more, "--tail=60", namespace=namespace), shorten(line.text.strip(), 200)
            ),
            Evidence(
                kubectl("get", "pod", pod.name, "-o", "yaml", namespace=namespace),
                f"container {container.name} has no mount at {_PLACE}",
            ),
        ),
        next=present(
            kubectl("edit", *edit, namespace=namespace) + "   # automountServiceAccountToken: true",
            kubectl("rollout", "restart", f"{workload.kind.lower()}/{workload.name}", namespace=namespace)
            if by_account and workload.kind in ("Deployment", "StatefulSet", "DaemonSet")
            else None,
        ),
        touches=(pod.ref(), Ref("ServiceAccount", name, namespace)),
        key=container.name,
    )
