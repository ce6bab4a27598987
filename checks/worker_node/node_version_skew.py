"""A kubelet is newer than the API server, or more than three minor versions older."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl
from kdiag.facts import Nodes, Version

_OLDEST = 3


@check(
    title="Node's version is not supported with the API server's",
    severity=Severity.WARNING,
    layer=Layer.NODE,
    tags=("node", "kubelet", "upgrade"),
)
def node_version_skew(nodes: Nodes, version: Version) -> Iterator[Finding]:
    """Kubelets may be up to three minor versions older (two before 1.28) and never newer."""
    server = version.minor
    if server is None:
        return
    allowed = _OLDEST if server >= 28 else 2
    for node in nodes.items:
        text = node.status.node_info.kubelet_version
        match = re.match(r"v?1\.(\d+)", text)
        if not match or node.virtual:
            continue
        behind = server - int(match[1])
        if 0 <= behind <= allowed:
            continue
        why = "is newer than" if behind < 0 else f"is {behind} minor versions older than"
        yield Finding(
            node.ref(),
            f"node {node.name} runs kubelet {text}, which {why} the API server ({version.text})",
            evidence=(
                Evidence(kubectl("get", "node", node.name), f"VERSION {text}"),
                Evidence(kubectl("version"), f"Server Version: {version.text}"),
            ),
            next=(
                "upgrade the control plane first, then the nodes one minor version at a time",
                kubectl("drain", node.name, "--ignore-daemonsets"),
            ),
        )
