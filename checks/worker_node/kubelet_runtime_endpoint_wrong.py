"""The kubelet looks for its container runtime at a socket that does not exist, while the runtime runs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, listing, present
from kdiag.facts import (
    CONTAINERD,
    Cluster,
    KubeletJournal,
    Kubelets,
    KubeletSetup,
    Manifests,
    RuntimeConfigs,
    Units,
    down,
    file_line,
    hosted,
    how_bad,
    journal_line,
    last_reason,
    latent,
    on_control_plane,
    retry,
    setups,
)

#: A complaint of the kubelet that is no older is of now: it asks each few seconds.
_NOW = 60


@check(
    title="Kubelet's runtime endpoint is wrong",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=(
        "worker_node/kubelet_crash_loops",
        "worker_node/kubelet_not_running",
        "worker_node/pleg_unhealthy",
        "worker_node/node_not_ready",
    ),
    tags=("node", "kubelet", "runtime", "config"),
)
def kubelet_runtime_endpoint_wrong(
    kubelets: Kubelets,
    configs: RuntimeConfigs,
    units: Units,
    cluster: Cluster,
    journal: KubeletJournal | None,
    manifests: Manifests | None,
) -> Iterator[Finding]:
    """Only where a runtime is up at another socket: else it is the runtime that is missing."""
    for node, setup, unit in setups(kubelets, units):
        endpoint = setup.endpoint
        path = endpoint.removeprefix("unix://")
        config = configs.get(node)
        runtime = units.runtime(node)
        if not endpoint or config is None or setup.unjoined or runtime is None or not runtime.running:
            continue
        real = [s for s in config.sockets if "docker" not in s or "cri-docker" in s]
        told = bool(not real and config.address and config.address_line and config.sockets_read)
        real = [config.address] if told else real
        if not real or not path.startswith("/") or path in real or not setup.missing(path):
            continue
        log = journal.get(node) if journal else None
        away = log.find(rf"dial unix {re.escape(path)}: connect: no such file") if log else None
        waits = latent(unit, log, cluster) and not (away and cluster.age(away.when) < _NOW)
        reason = last_reason(unit, log, cluster)
        source, line, text = _given(setup)
        fails = "will not start again" if waits else "does not start" if down(unit, log, cluster) else "has no runtime"
        place = f" ({CONTAINERD}:{config.address_line})" if told else ""
        yield Finding(
            Ref("Node", node),
            f"kubelet on {node} {fails}: it looks for its runtime at {path} ({source}:{line}), which does not exist; "
            f"{runtime.name} listens on {real[0]}{place}" + ("" if waits else on_control_plane(node, manifests)),
            evidence=present(
                file_line(source, line, text, node),
                file_line(CONTAINERD, config.address_line, f'address = "{config.address}"', node) if told else None,
                Evidence(f"ls {path} {real[0]}", f"{path} is not there; there is {listing(real, 2)}", node),
                journal_line(reason, node) if reason else None,
            ),
            next=retry(
                node,
                f"ssh -t {node} sudoedit {CONTAINERD}    # line {config.address_line}: {path}; then restart containerd"
                if told
                else f"ssh -t {node} sudoedit {source}    # unix://{real[0]}",
            ),
            touches=() if waits else hosted(node, manifests, cluster),
            severity=how_bad(unit, log, cluster) if waits or down(unit, log, cluster) else None,
            later=waits,
        )


def _given(setup: KubeletSetup) -> tuple[str, int, str]:
    if flag := setup.flag("container-runtime-endpoint"):
        return flag.path, flag.line, flag.text
    file = setup.config.file("containerRuntimeEndpoint") if setup.config else None
    line = file.line("containerRuntimeEndpoint") if file else 0
    return (file.path, line, file.quoted(line)) if file else ("", 0, "")
