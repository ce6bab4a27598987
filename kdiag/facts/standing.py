"""How a component does under its manifest, what its failure stops, and how the manifest is mended."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import datetime

from kdiag.facts.cluster import Cluster
from kdiag.facts.filelist import FileInfo
from kdiag.facts.manifests import Manifests, NodeManifests
from kdiag.facts.pods import ContainerStatus, Pod, Pods
from kdiag.facts.runtime import Containers
from kdiag.facts.staticpods import Manifest
from kdiag.facts.system import COMPONENTS
from kdiag.model.result import CLUSTER, Ref, Severity
from kdiag.model.text import ssh


def static_pod(component: str, node: str) -> Ref:
    """The pod that the kubelet makes of a component's manifest."""
    return Ref("Pod", f"{component}-{node}", "kube-system")


def several(manifests: Manifests, component: str) -> bool:
    """Whether more than one node is meant to run that component."""
    return sum(component in found.meant for _, found in manifests) > 1


def stands_still(manifests: Manifests, component: str) -> tuple[Ref, ...]:
    """What stands still when one of a component's static pods does not run."""
    if component in ("etcd", "kube-apiserver"):
        return () if several(manifests, component) else (CLUSTER,)
    return (Ref("Lease", component, "kube-system"),) if component in COMPONENTS else ()


#: How long a component must have run for its manifest to be proven good, and how long the kubelet may take to see one.
_STEADY = 90
_NOTICED = 120
#: Seconds in which a component that has been started becomes ready.
_BEGINS = 60


@dataclass(frozen=True, slots=True)
class Standing:
    """How a component does under its manifest. ``runs``: it works now, whatever its next start brings.

    ``proven``: it was started from the manifest as it is, and stayed up.
    """

    runs: bool = False
    proven: bool = False


def component_standing(
    manifest: Manifest, node: str, containers: Containers | None, pods: Pods | None, cluster: Cluster
) -> Standing:
    """Whether a component runs now, by its node's runtime or else by the API server."""
    changed = manifest.info.changed
    fresh = changed is not None and cluster.age(changed) < _NOTICED
    seen = containers.get(node) if containers else None
    if seen is not None and seen.listed:
        live = next((c for c in seen.of(manifest.component) if c.running), None)
        began = (live.started or live.created) if live else None
        if began is None:
            return Standing()
        newer = changed is not None and began > changed
        steady = cluster.age(began) > _STEADY
        return Standing(steady and (newer or not fresh), steady and newer)
    pod = pods.get(f"{manifest.component}-{node}", "kube-system") if pods else None
    return Standing(bool(pod and pod.ready and not fresh))


def written_since(line: str, manifest: Manifest, found: NodeManifests, ended: datetime | None) -> FileInfo | None:
    """The file that a component ended over, by its last words, where somebody has written it after that end.

    Where they name none it may be any that its flags name.
    """
    if ended is None:
        return None
    flag = manifest.named(line)
    inside = {path for path in re.findall(r"/[\w.-]+(?:/[\w.-]+)+", line)} | ({flag.value} if flag else set())
    uses = [u for u in manifest.uses if u.inside in inside] or list(manifest.uses)
    files = [file for u in uses if isinstance(file := found.state(u.host or u.inside), FileInfo)]
    return next((f for f in files if f.kind == "f" and f.changed and f.changed > ended), None)


def mended_meanwhile(
    component: str, pod: Pod, status: ContainerStatus, line: str, cluster: Cluster, manifests: Manifests | None
) -> bool:
    """Whether the file that a component ended over was written since, and it was started again a moment ago."""
    running, ended, found = status.state.running, status.ended, manifests.get(pod.node) if manifests else None
    manifest = found.of(component) if found else None
    if found is None or manifest is None or running is None or cluster.age(running.started_at) > _BEGINS:
        return False
    return written_since(line, manifest, found, ended.finished_at if ended else None) is not None


def component_seen(
    component: str, node: str, containers: Containers | None, pods: Pods | None, cluster: Cluster
) -> bool:
    """Whether anything tells how a component does. That the API server is dead tells it of that one and of etcd."""
    seen = containers.get(node) if containers else None
    pod = pods.get(f"{component}-{node}", "kube-system") if pods else None
    dead = bool(cluster.dead) and component in ("etcd", "kube-apiserver")
    return dead or pod is not None or bool(seen and seen.listed)


def manifest_severity(manifests: Manifests, component: str, now: Standing) -> Severity:
    """How bad it is that a component's manifest is wrong."""
    if now.runs:
        return Severity.WARNING
    if component not in COMPONENTS:
        return Severity.ERROR
    return Severity.ERROR if several(manifests, component) else Severity.CRITICAL


def manifest_subject(manifest: Manifest, node: str) -> Ref:
    """What a fault of a manifest is about: its pod, or the node where nobody can tell which pod was meant."""
    if manifest.component:
        return static_pod(manifest.component, node)
    return Ref("Pod", f"{manifest.name}-{node}", manifest.namespace) if manifest.name else Ref("Node", node)


def who_cannot_run(manifest: Manifest, node: str, *, alone: bool) -> str:
    """For a message: the pod of a manifest that the kubelet does not take; ``alone``: no other file makes it."""
    if not manifest.component:
        return f"{manifest.name}-{node}" if manifest.name else f"static pod on {node}"
    return f"{manifest.component}-{node} cannot run" if alone else f"a second file for {manifest.component}-{node}"


_IN_USE = re.compile(r":(\d{1,5}): bind: address already in use")


def who_listens(node: str, said: str) -> str | None:
    """The step that shows who has the port over which a component says that it ended; None for other last words."""
    port = _IN_USE.search(said)
    return ssh(node, f"sudo ss -ltnp sport = :{port[1]}") + "    # who has that port?" if port else None


def manifest_repair(node: str, manifest: Manifest, line: int, what: str) -> tuple[str, ...]:
    """The steps that correct a line of a manifest, and show whether that helped."""
    name = manifest.component or manifest.name or manifest.file
    return (
        ssh(node, f"sudoedit {shlex.quote(manifest.path)}") + f"    # line {line}: {what}",
        "the kubelet takes the change up by itself within 20 s; keep no copy of the file in that folder",
        f"ssh {node} sudo crictl ps -a --name {name}",
    )
