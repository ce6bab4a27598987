"""Two files of the static pod folder make the same pod: each replaces the other's."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import ETCD_FAILS, Evidence, Finding, Layer, Severity, check, listing
from kdiag.facts import Manifest, Manifests, manifest_subject, stands_still


@check(
    title="Static pod manifest is there twice",
    severity=Severity.ERROR,
    layer=Layer.APISERVER,
    explains=ETCD_FAILS,
    tags=("static-pods", "manifests"),
)
def manifest_duplicated(manifests: Manifests) -> Iterator[Finding]:
    """The kubelet reads every file whose name has no dot in front, whatever its extension: .bak, .orig, .yaml~."""
    for node, found in manifests:
        groups: dict[tuple[str, str], list[Manifest]] = {}
        for manifest in found.files if found.used else ():
            if manifest.taken and manifest.name:
                groups.setdefault((manifest.namespace, manifest.name), []).append(manifest)
        for (_, name), same in groups.items():
            if len(same) < 2:
                continue
            kept = next((m for m in same if m.file in (f"{name}.yaml", f"{m.component}.yaml")), same[0])
            extra = [m for m in same if m is not kept]
            subject = manifest_subject(kept, node)
            yield Finding(
                subject,
                f"{subject.name} has {len(same)} manifests in one folder: "
                f"{listing([m.file for m in (kept, *extra)], 4)}",
                evidence=(
                    Evidence(f"grep -H '^  name:' {kept.path} {extra[0].path}", f"both say name: {name}", node),
                    Evidence(f"diff {kept.path} {extra[0].path}", _difference(kept, extra[0]), node),
                ),
                next=(
                    *(f"ssh {node} sudo mv {m.path} /root/    # if {kept.file} is the one to keep" for m in extra),
                    f"ssh {node} sudo crictl ps -a --name {kept.component or name}",
                ),
                touches=stands_still(manifests, kept.component),
                severity=Severity.WARNING if kept.lines == extra[0].lines else None,
            )


def _difference(kept: Manifest, extra: Manifest) -> str:
    if kept.lines == extra.lines:
        return "no difference"
    one = [line.strip() for line in kept.lines if line not in extra.lines]
    two = [line.strip() for line in extra.lines if line not in kept.lines]
    return f"only {kept.file}: {listing(one, 2) or 'nothing'}; only {extra.file}: {listing(two, 2) or 'nothing'}"
