"""What probes ask, in words, and what of their settings cannot be right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal

from kdiag.facts.faults import Failure
from kdiag.facts.podspec import Container, Probe
from kdiag.model.quantity import amount
from kdiag.model.text import shorten

#: A rollout has failed by then: seconds.
_PATIENCE = 600
#: Cores on which a program takes seconds for what else takes milliseconds.
_STARVED = Decimal("0.03")


def probe_text(probe: Probe, container: Container) -> str:
    """What a probe asks, in short: ``GET :8080/healthz``, ``TCP :3306``, ``exec cat /tmp/ready``."""
    port = probe.port
    shown = f":{port}" if port not in (None, 0) else ""
    if isinstance(port, str) and (number := container.port_number(port)):
        shown = f":{port} ({number})"
    if probe.http_get:
        return f"GET {shown}{probe.http_get.path or '/'}"
    if probe.exec:
        return f"exec {shorten(' '.join(probe.exec.command), 60)}"
    return f"{'gRPC' if probe.grpc else 'TCP'} {shown}"


def wrong_port(probe: Probe | None, container: Container) -> tuple[int, str]:
    """The probe's port and the ports that were probably meant, where the probe asks one that nothing declares.

    (0, "") when the port is declared, or when nothing tells which port is right.
    """
    if probe is None or probe.port is None:
        return 0, ""
    number = container.port_number(probe.port)
    declared = sorted({p.container_port for p in container.ports if p.protocol == "TCP"})
    if number is None:
        return -1, ", ".join(
            f"{p.name}={p.container_port}" if p.name else str(p.container_port) for p in container.ports
        )
    if declared and number not in declared:
        return number, ", ".join(map(str, declared))
    return 0, ""


_OWN = ("localhost", "127.0.0.1", "::1")


def other_host(probe: Probe, *, on_node: bool) -> str:
    """The host that an HTTP probe asks in place of the pod: a name, for nobody puts the pod's own there, or the node.

    The kubelet asks, so 127.0.0.1 is its node; which is right for a pod that is ``on_node``, on its node's network.
    """
    host = probe.http_get.host if probe.http_get else ""
    if host in _OWN:
        return "" if on_node else host
    return host if host and not host.replace(".", "").isdigit() and ":" not in host else ""


def _names_host(probe: Probe) -> bool:
    """Whether an HTTP probe sends a Host header of its own; its value is not kept."""
    return probe.http_get is not None and any(h.name.lower() == "host" for h in probe.http_get.http_headers)


def probe_setting(probe: Probe, container: Container) -> str:
    """A probe as ``kubectl describe pod`` shows it."""
    return (
        f"{probe_text(probe, container)} delay={probe.initial_delay_seconds}s timeout={probe.timeout_seconds}s "
        f"period={probe.period_seconds}s #failure={probe.failure_threshold}"
    )


def startup_for(probe: Probe) -> str:
    """A startupProbe, as JSON, that asks what a liveness probe asks and gives it five minutes."""
    value: dict[str, object] = {"periodSeconds": 5, "failureThreshold": 60}
    if probe.http_get:
        value["httpGet"] = {
            "path": probe.http_get.path or "/",
            "port": probe.http_get.port,
            "scheme": probe.http_get.scheme,
        }
    elif probe.tcp_socket:
        value["tcpSocket"] = {"port": probe.tcp_socket.port}
    elif probe.grpc:
        value["grpc"] = {"port": probe.grpc.port}
    elif probe.exec:
        value["exec"] = {"command": list(probe.exec.command)}
    return json.dumps(value, separators=(",", ":"))


def starved(container: Container) -> str:
    """A CPU limit so small that programs start and answer slowly, as text; empty where there is none."""
    limit = container.resources.limits.get("cpu")
    return f"its CPU limit is {amount('cpu', limit)}" if limit is not None and limit <= _STARVED else ""


#: How programs say in their log on which port they listen.
LISTENS = re.compile(r"(?i)(?:listen|serv|start|bound|running)\w*\b[^\n]{0,60}?[: ](?P<port>\d{2,5})\b(?![.:\d])")

#: A program says so when only its own pod can reach it: the kubelet and every Service come from outside.
LOOPBACK = re.compile(r"(?:127\.0\.0\.1|\blocalhost|\[::1\]):\d")


def inside_alone(lines: Iterable[str], port: int | str) -> str:
    """The loopback address on which a program says that it listens, where it names none else for this port."""
    heard = [m for line in lines if (m := LISTENS.search(line)) and int(m["port"]) == port]
    local = [found[0].rpartition(":")[0] for m in heard if (found := LOOPBACK.search(m[0]))]
    return local[0] if local and len(local) == len(heard) else ""


def probe_verdict(kind: str, probe: Probe, failure: Failure) -> str:
    """Why a probe fails, from what it asks, what it got and the ports that the container has."""
    text = failure.text
    unseen = not text or text.startswith("Container ")  # the event of the kill, without that of the probe
    why = (
        _asks_wrongly(probe, failure, unseen=unseen)
        or (_refused(kind, probe, failure) if "connection refused" in text else "")
        or _answers(probe, text)
        or _silent(probe, failure)
    )
    said = "" if unseen or why else re.sub(r"^\w+ probe (?:failed|errored[^:]*): ?", "", failure.said)
    return probe_text(probe, failure.spec) + (why or (f" fails: {shorten(said, 90)}" if said else " fails"))


def _asks_wrongly(probe: Probe, failure: Failure, *, unseen: bool) -> str:
    """What is wrong with the question, whatever the container would answer."""
    spec, text = failure.spec, failure.text
    number, declared = wrong_port(probe, spec)
    if number == -1:
        has = f" (it has {declared})" if declared else ""
        return f": no port of the container is called {probe.port}{has}"
    if (host := other_host(probe, on_node=failure.pod.spec.host_network)) and (f"//{host}" in text or host in _OWN):
        if host in _OWN:
            return f" is sent to {host} on the node, not to the pod: leave host out"
        return f" is sent to host {host}, not to the pod; a virtual host belongs in httpHeaders"
    if unseen and probe.initial_delay_seconds > _PATIENCE:
        return f" is first asked {probe.initial_delay_seconds:,} s after the start (initialDelaySeconds)"
    if number and (unseen or "connection refused" in text):
        return f" {'fails' if unseen else 'is refused'}: the container declares port {declared}, not {number}"
    return ""


def _refused(kind: str, probe: Probe, failure: Failure) -> str:
    """Why nothing listens where it asks."""
    spec = failure.spec
    port = spec.port_number(probe.port) if probe.port is not None else None
    for name, other in spec.probes():
        wanted = spec.port_number(other.port or 0) if name != kind and other.port is not None else None
        if wanted and wanted != port:
            return f" is refused; its {name} probe asks port {wanted}"
    for line in reversed(failure.log):
        match = LISTENS.search(line.text)
        if match and int(match["port"]) != port:
            return f" is refused; its log speaks of port {match['port']}"
        if match and (local := LOOPBACK.search(match[0])):
            return f" is refused: it listens on {local[0].rpartition(':')[0]} alone, inside its pod"
    late = f" within {probe.budget} s" if kind == "startup" and failure.end else ""
    return f" is refused: nothing listens on port {port}{late}" if port is not None else ""


def _answers(probe: Probe, text: str) -> str:
    """What is wrong with an HTTP answer that it got."""
    match = re.search(r"statuscode: (\d+)", text)
    if match is None:
        return ""
    code = match[1]
    if code == "404":
        named = ", or not for the Host header that it sends" if _names_host(probe) else ""
        return f" answers 404: there is no such path{named}"
    if code in ("401", "403"):
        return f" answers {code}: it wants credentials, and a probe has none"
    return f" answers {code}" + (": the application is unwell" if code.startswith("5") else "")


def _silent(probe: Probe, failure: Failure) -> str:
    """Why it got no answer of the kind that it wants."""
    text = failure.text
    if probe.grpc and "failed to connect service" in text and "refused" not in text:
        return ": no gRPC server answers there"
    if "executable file not found" in text or (probe.exec and "no such file or directory" in text and "exec:" in text):
        return f": {probe.exec.command[0] if probe.exec else 'its command'} is not in the image"
    if "deadline exceeded" in text or "timed out" in text or "timeout" in text:
        slow = starved(failure.spec)
        return f" does not answer within {probe.timeout_seconds} s" + (f"; {slow}" if slow else "")
    if "HTTP response to HTTPS" in text:
        return ": the probe speaks HTTPS and the container HTTP"
    if "malformed HTTP" in text or "server gave" in text:
        scheme = probe.http_get.scheme if probe.http_get else "that protocol"
        return f": the container does not speak {scheme} there"
    return ""
