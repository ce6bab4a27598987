"""What probes ask, in words, and what of their settings cannot be right."""

from __future__ import annotations

import json
from decimal import Decimal

from kdiag.facts.podspec import Container, Probe
from kdiag.model.quantity import amount
from kdiag.model.text import shorten

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


def other_host(probe: Probe) -> str:
    """The host that an HTTP probe asks in place of the pod, where it is a name: nobody puts the pod's own there."""
    host = probe.http_get.host if probe.http_get else ""
    return host if host and host != "localhost" and not host.replace(".", "").isdigit() and ":" not in host else ""


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
