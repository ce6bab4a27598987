"""The API server's calls to a webhook fail although something ready stands behind it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from kdiag.check import WEBHOOK_REFUSES, Evidence, Finding, Layer, Ref, Severity, check, kubectl, shorten
from kdiag.facts import (
    Cluster,
    Complaints,
    Containers,
    EndpointSlices,
    Events,
    LogLine,
    MutatingWebhookConfiguration,
    MutatingWebhooks,
    ReplicaSets,
    Services,
    ValidatingWebhookConfiguration,
    ValidatingWebhooks,
    Webhook,
    Workloads,
    current_log,
    said_lately,
)

_RECENT = 900
_LATELY = 90  # seconds: what was said before may be mended
_TIMES = 2
_CALL = re.compile(r'failed calling webhook \\{0,4}"(?P<name>[a-z0-9.-]{1,253})\\{0,4}": (?P<why>.{1,2000})')
#: It was reached, and what it serves or is asked for is wrong: no network and no node keeps it from answering.
_ANSWERED = re.compile(
    "signed by unknown authority|certificate is valid for|certificate is not valid for|contain any IP SANs"
    "|legacy Common Name|could not find the requested resource|HTTP response to HTTPS"
)


class _Call(NamedTuple):
    """A call that failed: where that is said, the words, the error itself, who was refused by it."""

    command: str
    text: str
    error: str
    about: Ref | None = None
    source: str = "api"


@check(
    title="Calls to a webhook fail",
    severity=Severity.ERROR,
    layer=Layer.WEBHOOK,
    explains=WEBHOOK_REFUSES,
    tags=("webhook", "admission"),
)
def webhook_call_fails(
    events: Events,
    validating: ValidatingWebhooks,
    mutating: MutatingWebhooks,
    services: Services,
    slices: EndpointSlices,
    workloads: Workloads,
    replicasets: ReplicaSets,
    cluster: Cluster,
    containers: Containers | None,
    complaints: Complaints | None,
) -> Iterator[Finding]:
    """Events tell it, and count only while what was refused is still missing; so do, for a while, the logs.

    That of an API server, and those of whoever asked and was told so: an operator, mostly.
    """
    configs: list[ValidatingWebhookConfiguration | MutatingWebhookConfiguration] = [*validating.items, *mutating.items]
    hooks = {h.name: (c, h) for c in configs for h in c.webhooks}
    seen: dict[str, list[_Call]] = {}
    for event in events.by_reason.get("FailedCreate", ()):
        found = re.search(r'failed calling webhook "([^"]+)": (.*)', event.message, re.DOTALL)
        recent = found is not None and found[1] in hooks and cluster.age(event.when) < _RECENT
        if found and recent and not _healed(event.about, workloads, replicasets):
            command = kubectl("describe", event.about.kind.lower(), event.about.name, namespace=event.namespace)
            seen.setdefault(found[1], []).append(_Call(command, event.message, found[2], event.about))
    for name, call in (*_served(containers, cluster), *_asked(complaints, cluster)):
        if name in hooks:
            seen.setdefault(name, []).append(call)
    for name, calls in seen.items():
        config, hook = hooks[name]
        if not _there(hook, services, slices):
            continue  # webhook_backend_unavailable says so
        why, look = _reason(calls[0].error, hook, cluster)
        yield Finding(
            config.ref(),
            f"calls to webhook {name} of {config.name} fail: {why}{_meanwhile(calls[0].error, hook)}",
            evidence=(Evidence(calls[0].command, shorten(calls[0].text, 400), calls[0].source),),
            next=(look, *_pods(hook)),
            touches=tuple(dict.fromkeys(c.about for c in calls if c.about)),
            key=name,
            own=bool(_ANSWERED.search(calls[0].error)),
            severity=Severity.WARNING if _passes(hook) else None,
        )


def _served(containers: Containers | None, cluster: Cluster) -> Iterator[tuple[str, _Call]]:
    """What the API servers say of their calls: one that fails while a webhook's pod is replaced does not count."""
    for node, found in containers or ():
        log = current_log(found, "kube-apiserver")
        calls: dict[str, list[tuple[LogLine, str]]] = {}
        for line, match in said_lately(log, _CALL, cluster, _LATELY):
            calls.setdefault(match["name"], []).append((line, match["why"]))
        for name, said in calls.items():
            line, why = said[-1]
            if log and _lasting(why, len(said)):
                text = line.text[line.text.find("failed calling webhook") :]
                yield name, _Call(f"sudo tail -n 20 {log.path}", text, why, source=node)


def _asked(complaints: Complaints | None, cluster: Cluster) -> Iterator[tuple[str, _Call]]:
    """What the logs of whoever asked say, each workload heard once."""
    if complaints is None:
        return
    seen: set[tuple[Ref, str]] = set()
    for log in complaints.logs.items:
        pod = complaints.pods.get(log.pod, log.namespace)
        if pod is None or pod.terminating:
            continue
        calls: dict[str, list[tuple[LogLine, str]]] = {}
        for line in complaints.recent(pod, log.container, _CALL):
            match = _CALL.search(line.text)
            if match and line.when and cluster.age(line.when) < _LATELY:
                calls.setdefault(match["name"], []).append((line, match["why"]))
        about = complaints.owners.top(pod)
        for name, said in calls.items():
            line, why = said[0]
            if _lasting(why, len(said)) and (about, name) not in seen:
                seen.add((about, name))
                command = kubectl("logs", pod.name, "-c", log.container, "--tail=20", namespace=pod.namespace)
                yield name, _Call(command, line.text.strip(), why, about)


def _lasting(why: str, times: int) -> bool:
    """Whether it does not pass by itself: a certificate that is refused, or what was said again and again."""
    return "x509:" in why or "tls: failed to verify" in why or times > _TIMES


def _healed(ref: Ref, workloads: Workloads, replicasets: ReplicaSets) -> bool:
    """Whether the object that was refused its pods has them by now, or is gone."""
    if ref.kind == "ReplicaSet":
        made = replicasets.get(ref.name, ref.namespace)
        return made is None or made.status.replicas >= made.desired
    if ref.kind in ("StatefulSet", "DaemonSet"):
        workload = workloads.get(ref)
        return workload is None or max(workload.status.replicas, workload.status.current_number_scheduled) >= (
            workload.desired
        )
    return False


def _there(hook: Webhook, services: Services, slices: EndpointSlices) -> bool:
    target = hook.client_config.service
    if target is None:
        return True
    service = services.get(target.name, target.namespace)
    return bool(
        service and service.port(target.port) and (service.external or any(e.ready for e in slices.endpoints(service)))
    )


def _reason(error: str, hook: Webhook, cluster: Cluster) -> tuple[str, str]:
    """What the error says in plain words, and what to look at."""
    line = error.replace("\n", " ").partition('" logger=')[0]
    if "x509:" in line or "tls:" in line or "unable to load root certificates" in line:
        return _certificate(line, hook, cluster)
    if url := hook.client_config.url:
        why = _by_url(line, url)
        if why:
            return why
    if "connection refused" in line:
        return (
            "connection refused: its pods do not listen on the Service's targetPort",
            "compare the Service's targetPort with the port on which the pods listen",
        )
    if "deadline exceeded" in line or "Timeout" in line or "i/o timeout" in line:
        return (
            "no answer in time: the pods are slow, or the API server's node does not reach the pod network",
            "from a control-plane node: curl -kv https://POD-IP:TARGET-PORT/    # a network policy or firewall?",
        )
    if "no such host" in line:
        return "its name cannot be resolved", "correct the url of the configuration"
    if "no route to host" in line:
        return "no route to its pods from the API server's node", "look at the network plugin on the control plane"
    if "could not find the requested resource" in line:
        path = (hook.client_config.service.path if hook.client_config.service else "") or "/"
        return (
            f"its server answers 404 for path {path}",
            "correct clientConfig.service.path of the configuration: the webhook's documentation names it",
        )
    if "server gave HTTP response to HTTPS" in line:
        return "its server speaks HTTP, and webhooks are called by HTTPS", "correct the Service's targetPort"
    return shorten(line, 120), "read the webhook's own log"


def _meanwhile(error: str, hook: Webhook) -> str:
    """What one that is passed over when it does not answer costs all the same."""
    late = "deadline exceeded" in error or "imeout" in error
    return f"; each call waits {hook.timeout_seconds} s and passes then" if late and _passes(hook) else ""


def _passes(hook: Webhook) -> bool:
    return hook.failure_policy == "Ignore"


def _certificate(line: str, hook: Webhook, cluster: Cluster) -> tuple[str, str]:
    """Why a certificate is not accepted: its own name or time, or what the configuration trusts."""
    found = re.search(r"(x509: .*)", line) or re.search(r"(tls: .*)", line)
    why = f"its certificate is not accepted ({shorten(found[1] if found else line, 100)})"
    if name := re.search(r"certificate is (?:not )?valid for .*?,? (?:not|but wanted) ([\w.-]+)", line):
        return why, f"make the certificate that it serves anew, with the name it is called by: DNS:{name[1]}"
    if "certificate has expired" in line:
        return why, "make the certificate that it serves anew, and restart its pods if they do not read it again"
    if "unknown authority" not in line and "unable to load root" not in line:
        return why, "compare caBundle of the configuration with the CA of the Secret that the webhook serves with"
    trusted = hook.client_config.authorities
    if not trusted:
        holds = "holds no certificate" if hook.client_config.ca_bundle else "is empty"
        return (
            f"its certificate is not accepted: caBundle of the configuration {holds}",
            "put the CA that signed the webhook's certificate into caBundle; where cert-manager's cainjector or an "
            "operator does so, look at its log",
        )
    if all(cluster.age(ca.not_after) > 0 for ca in trusted):
        last = max(trusted, key=lambda ca: ca.not_after)
        return (
            f"its certificate is not accepted: the CA in caBundle, {shorten(last.subject, 60)}, has expired on "
            f"{last.not_after:%Y-%m-%d}",
            "make a new CA and a certificate of it for the webhook, and put that CA into caBundle",
        )
    return why, "compare caBundle of the configuration with the CA of the Secret that the webhook serves with"


#: What of a call to a server that is no Service's tells why it failed.
_BY_URL = (
    ("connection refused", "refuses the connection"),
    ("no route to host", "cannot be reached: no route from the API server's node"),
    ("network is unreachable", "cannot be reached: no route from the API server's node"),
    ("deadline exceeded", "does not answer in time"),
    ("imeout", "does not answer in time"),
    ("could not find the requested resource", "answers 404 for this path"),
    ("server gave HTTP response to HTTPS", "speaks HTTP, and webhooks are called by HTTPS"),
)


def _by_url(line: str, url: str) -> tuple[str, str] | None:
    """Why a webhook outside of the cluster, or told of by its address, does not answer, and what to look at."""
    place = shorten(url, 80)
    why = next((why for word, why in _BY_URL if word in line), "")
    look = f"from a control-plane node: curl -kv {shlex.quote(url)}    # is the url of the configuration right?"
    return (f"{place} {why}", look) if why else None


def _pods(hook: Webhook) -> Iterator[str]:
    if target := hook.client_config.service:
        yield kubectl("get", "pods,endpointslices", "-o", "wide", namespace=target.namespace)
