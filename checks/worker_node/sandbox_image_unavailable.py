"""The pause image that every pod needs cannot be had on a node."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from kdiag.check import Finding, Layer, Ref, Severity, check, present, shorten
from kdiag.facts import (
    Cluster,
    Entry,
    Images,
    KubeletJournal,
    Manifests,
    RuntimeConfig,
    RuntimeConfigs,
    RuntimeJournal,
    Unit,
    Units,
    file_line,
    hosted,
    journal_line,
)
from kdiag.facts.signatures import SANDBOX_IMAGE

_LATELY = 120
#: Seconds in which a runtime that was started anew may still be asked what was asked of the one before.
_SETTLED = 5
_FILE = "/etc/containerd/config.toml"
_ROOT = "/var/lib/containerd"


@check(
    title="Pause image cannot be pulled",
    severity=Severity.ERROR,
    layer=Layer.NODE,
    explains=(
        "network/kube_proxy_not_running",
        "network/network_plugin_daemonset_unavailable",
        "network/pod_sandbox_fails",
        "control_plane/static_pod_failing",
        "control_plane/static_pod_missing",
        "application/pod_not_ready",
        "control_plane/api_server_unreachable",
        "control_plane/component_exits",
        "control_plane/etcd_not_running",
        "control_plane/api_server_cannot_reach_etcd",
    ),
    tags=("node", "containerd", "images", "runtime"),
)
def sandbox_image_unavailable(
    journal: KubeletJournal,
    cluster: Cluster,
    configs: RuntimeConfigs | None,
    runtime: RuntimeJournal | None,
    manifests: Manifests | None,
    images: Images | None,
    units: Units | None,
) -> Iterator[Finding]:
    """Pods that run go on; no new one starts there. Told by the kubelet, or by the runtime itself."""
    for node, log in journal:
        own = runtime.get(node) if runtime else None
        entry = log.find(SANDBOX_IMAGE.pattern)
        unit = "kubelet"
        if entry is None and own:
            entry, unit = own.find(SANDBOX_IMAGE.pattern), "containerd"
        match = SANDBOX_IMAGE.search(entry.text) if entry else None
        if entry is None or match is None or cluster.age(entry.when) > _LATELY:
            continue
        image = match["i"]
        if images and image in (images.get(node) or ()):
            continue  # it was brought since
        config = configs.get(node) if configs else None
        line = config.sandbox_image_line if config and config.sandbox_image == image else 0
        other = config if config and config.sandbox_image and config.sandbox_image != image else None
        begun = _begun(units.unit(node, "containerd") if units else None)
        if begun and entry.when and (entry.when - begun).total_seconds() <= _SETTLED:
            continue  # started anew since: it may use another
        if other and not begun:
            continue  # corrected since
        place = f" ({_FILE}:{line})" if line else f", {_not_that(other)}," if other else ""
        # Where the pause image was there before, a new and empty store is what is wrong.
        moved = config if config and config.root not in ("", _ROOT) and images and images.get(node) == () else None
        where = f"{_FILE}:{moved.root_line} root = {moved.root} holds no image, and " if moved else ""
        yield Finding(
            Ref("Node", node),
            shorten(f"no pod can start on {node}: {where}the pause image {image}{place} {_why(entry)}", 260),
            evidence=present(
                file_line(_FILE, moved.root_line, f'root = "{moved.root}"', node) if moved else None,
                file_line(_FILE, line, f'sandbox_image = "{image}"', node) if line else None,
                file_line(_FILE, other.sandbox_image_line, f'sandbox_image = "{other.sandbox_image}"', node)
                if other and other.sandbox_image_line
                else None,
                journal_line(entry, node, unit),
            ),
            next=present(
                *(
                    [
                        f"ssh {node} sudo ls {_ROOT}    # what was there before?",
                        f"ssh -t {node} sudoedit {_FILE}    # line {moved.root_line}: {_ROOT} is the default",
                    ]
                    if moved
                    else []
                ),
                f"ssh {node} 'sudo grep -n . {' '.join(other.imports)}'    # a section there replaces a whole one"
                if other and other.imports
                else None,
                f"ssh {node} sudo crictl pull {image}    # what does the registry say?",
                f"ssh -t {node} sudoedit {_FILE}    # a pause image that is there: sudo crictl images | grep pause"
                if line
                else f"ssh {node} sudo crictl images | grep pause",
                f"ssh {node} sudo systemctl restart containerd",
            ),
            touches=hosted(node, manifests, cluster),
        )


def _begun(unit: Unit | None) -> datetime | None:
    return unit.entered if unit and unit.running else None


def _not_that(config: RuntimeConfig) -> str:
    """Why what the file says is not what counts."""
    line = f":{config.sandbox_image_line}" if config.sandbox_image_line else ""
    why = "a section of what it imports replaces the whole one" if config.imports else "it was not restarted since"
    return f"and not {config.sandbox_image} of {_FILE}{line} ({why})"


def _why(entry: Entry) -> str:
    for sign, meaning in (
        ("not found", "does not exist"),
        ("no such host", "cannot be pulled: its registry's name is not known"),
        ("timeout", "cannot be pulled: its registry does not answer"),
        ("refused", "cannot be pulled: its registry refuses the connection"),
        ("denied", "cannot be pulled: access is denied"),
        ("x509", "cannot be pulled: its registry's certificate is not trusted"),
    ):
        if sign in entry.text:
            return meaning
    return "cannot be pulled"
