"""One control-plane node runs a component with other flags than the other nodes do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, listing
from kdiag.facts import COMPONENTS, Manifest, Manifests, manifest_repair, static_pod

# What is each node's own.
_OWN = re.compile(r"advertise|listen|^name$|initial-cluster|bind-address|^v$|hostname|etcd-servers|external-hostname")


@check(
    title="Control-plane flags differ between the nodes",
    severity=Severity.WARNING,
    layer=Layer.APISERVER,
    tags=("static-pods", "manifests", "flags"),
)
def manifest_differs_between_nodes(manifests: Manifests) -> Iterator[Finding]:
    """Three nodes or more, of which all but one agree; what is a node's own (addresses, names) is left out."""
    for part in COMPONENTS:
        found = {node: m for node, one in manifests if (m := one.of(part)) and m.flags}
        if len(found) < 3:
            continue
        flags = {node: _flags(m, node) for node, m in found.items()}
        for node, manifest in found.items():
            others = [f for n, f in flags.items() if n != node]
            odd: list[tuple[str, str | None, str | None]] = []
            for name in sorted({n for f in flags.values() for n in f}):
                votes = Counter(f.get(name) for f in others)
                agreed, count = votes.most_common(1)[0]
                if count == len(others) and flags[node].get(name) != agreed:
                    odd.append((name, flags[node].get(name), agreed))
            if not odd:
                continue
            subject = static_pod(part, node)
            shown = [f"--{name}{_is(mine)} ({_elsewhere(theirs)})" for name, mine, theirs in odd]
            line = next((f.line for n, _, _ in odd if (f := manifest.flag(n))), 1)
            yield Finding(
                subject,
                f"{subject.name} runs with other flags than on the other nodes: {listing(shown, 3)}",
                evidence=(
                    Evidence(f"grep -n -e '- --' {manifest.path}", listing(shown, 5), node),
                    Evidence("", f"the other nodes agree: {listing(sorted(n for n in found if n != node), 4)}", node),
                ),
                next=manifest_repair(node, manifest, line, "make it as on the other nodes"),
            )


def _flags(manifest: Manifest, node: str) -> dict[str, str]:
    return {f.name: f.value.replace(node, "NODE") for f in manifest.flags if not _OWN.search(f.name)}


def _elsewhere(value: str | None) -> str:
    return "not set elsewhere" if value is None else f"elsewhere {value}"


def _is(value: str | None) -> str:
    return " is not set" if value is None else f"={value}"
