"""The kubelet works and does not listen where the API server asks it, so logs, exec and metrics of its node fail."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, listing, whole
from kdiag.facts import ConfigFile, Kubelets, KubeletSetup, Listeners, Units

_PORT = 10250


@check(
    title="Kubelet does not listen for the API server",
    severity=Severity.ERROR,
    layer=Layer.NODE,
    explains=("worker_node/kubelet_unreachable", "worker_node/metrics_server_unavailable"),
    tags=("node", "kubelet", "config", "logs"),
)
def kubelet_not_listening(kubelets: Kubelets, units: Units, listeners: Listeners) -> Iterator[Finding]:
    """The node stays Ready: the kubelet goes to the API server by itself. Only the other direction is closed."""
    for node, setup in kubelets:
        unit, config, heard = units.unit(node, "kubelet"), setup.config, listeners.get(node)
        if unit is None or not unit.running or config is None or heard is None or setup.flag("address"):
            continue
        name, why, meant = _closed(config)
        port = _port(setup, config)
        open_to = [one.address for one in heard if one.port == port]
        if not name or any(not _loopback(a) for a in open_to):
            continue  # it runs with what the file said before, or with a proxy in front
        file = config.file(name)
        line = file.line(name)
        yield Finding(
            Ref("Node", node),
            f"kubectl logs and exec fail for pods of {node}: {file.path}:{line} {name} is {why}, usual is {meant}",
            evidence=(
                Evidence(f"sudo sed -n {line}p {file.path}", file.quoted(line), node),
                Evidence(
                    f"sudo ss -ltnp sport = :{port}",
                    f"listens on {listing(open_to, 3)} alone" if open_to else f"nobody listens on {port}",
                    node,
                ),
            ),
            next=(
                f"ssh -t {node} sudoedit {file.path}    # line {line}: {name}: {meant}",
                f"ssh {node} sudo systemctl restart kubelet",
            ),
            key=name,
        )


def _closed(config: ConfigFile) -> tuple[str, str, str]:
    """The setting that closes it, its value and what is usual; empty where none does."""
    if config.get("enableServer") is False:
        return "enableServer", "false", "true"
    address = config.string("address")
    return ("address", address, "0.0.0.0") if _loopback(address) else ("", "", "")  # noqa: S104


def _port(setup: KubeletSetup, config: ConfigFile) -> int:
    flag, given = setup.flag("port"), config.get("port")
    if flag and (named := whole(flag.value)) is not None:
        return named
    return given if isinstance(given, int) and given else _PORT


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False
