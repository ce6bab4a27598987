"""The first network plugin configuration of a node cannot be used, so no pod there gets a network."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import NO_POD_NETWORK, Evidence, Finding, Layer, Ref, Severity, check, present, shorten
from kdiag.facts import NetworkSetups, RuntimeAnswers


@check(
    title="Network plugin configuration is invalid",
    severity=Severity.CRITICAL,
    layer=Layer.CNI,
    explains=NO_POD_NETWORK,
    tags=("cni", "node", "network"),
)
def cni_config_invalid(setups: NetworkSetups, runtimes: RuntimeAnswers | None) -> Iterator[Finding]:
    """Runtimes take the first file by name; containerd gives up when that one is broken."""
    for node, setup in setups:
        first = setup.first
        if first is None or not first.fault:
            continue
        runtime = runtimes.get(node) if runtimes else None
        said = runtime.conditions.get("NetworkReady") if runtime else None
        # CRI-O passes over a broken file and takes the next.
        latent = bool(said and said[0])
        place = f"{first.path}:{first.line}" if first.line else first.path
        lines = first.text.splitlines()
        quoted = lines[first.line - 1].strip() if 0 < first.line <= len(lines) else ""
        evidence = [
            Evidence(
                f"sed -n {first.line or 1}p {first.path}",
                shorten(quoted, 160) or f"(an empty line) {first.fault}",
                node,
            )
        ]
        if said and not said[0]:
            evidence.append(Evidence("crictl info", f"NetworkReady false: {said[2] or said[1]}", source=node))
        more = [c.name for c in setup.configs[1:]]
        effect = "the next start of the runtime fails" if latent else "pods get no network"
        yield Finding(
            Ref("Node", node),
            shorten(f"{effect} on {node}: {place} cannot be used: {first.fault}", 220),
            evidence=tuple(evidence),
            next=present(
                f"ssh -t {node} sudoedit {first.path}    # compare it with the same file of a node that works",
                f"# after it by name: {', '.join(more)}" if more else None,
            ),
            severity=Severity.WARNING if latent else Severity.CRITICAL,
        )
