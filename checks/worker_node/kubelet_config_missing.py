"""The file or folder that the kubelet is to read its configuration from does not exist."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, present
from kdiag.facts import (
    Cluster,
    KubeletJournal,
    Kubelets,
    Manifests,
    Units,
    file_line,
    journal_line,
    next_start,
    retry,
    setups,
    unit_state,
)

_USUAL = "/var/lib/kubelet/config.yaml"


@check(
    title="Kubelet's configuration file is missing",
    severity=Severity.CRITICAL,
    layer=Layer.HOST,
    explains=("worker_node/kubelet_crash_loops", "worker_node/kubelet_not_running"),
    tags=("node", "kubelet", "config"),
)
def kubelet_config_missing(
    kubelets: Kubelets,
    units: Units,
    cluster: Cluster,
    journal: KubeletJournal | None,
    manifests: Manifests | None,
) -> Iterator[Finding]:
    """A kubelet that waits for kubeadm init or join has none either, and no kubeconfig: that is no fault."""
    for node, setup, unit in setups(kubelets, units):
        folder = setup.flag("config-dir")
        if folder and setup.missing(folder.value) and not setup.unjoined:
            start = next_start(node, unit, journal, cluster, manifests)
            yield Finding(
                Ref("Node", node),
                f"kubelet on {node} {start.fails}: {folder.value} does not exist "
                f"({folder.path}:{folder.line} --config-dir)" + start.also,
                evidence=present(
                    file_line(folder.path, folder.line, folder.text, node),
                    Evidence(f"ls {folder.value}", "No such file or directory", node),
                    unit_state(unit, node, "ActiveState", "SubState"),
                    journal_line(start.reason, node) if start.reason else None,
                ),
                next=retry(
                    node, f"ssh {node} sudo mkdir {folder.value}    # an empty folder will do; or correct {folder.path}"
                ),
                touches=start.touches,
                key="config-dir",
                severity=start.severity,
                later=start.waits,
            )
        config, flag = setup.config, setup.flag("config")
        if config is None or not config.absent or flag is None or setup.unjoined:
            continue
        start = next_start(node, unit, journal, cluster, manifests)
        other = config.path != _USUAL
        yield Finding(
            Ref("Node", node),
            f"kubelet on {node} {start.fails}: {config.path} (--config) does not exist" + start.also,
            evidence=present(
                Evidence(f"ls {config.path}", "No such file or directory", node),
                file_line(flag.path, flag.line, flag.text, node) if flag.path and other else None,
                unit_state(unit, node, "ActiveState", "SubState"),
                journal_line(start.reason, node) if start.reason else None,
            ),
            next=retry(
                node,
                *(
                    (
                        f"ssh -t {node} sudoedit {flag.path}    # --config={_USUAL}",
                        f"ssh {node} sudo systemctl daemon-reload",
                    )
                    if other and flag.path
                    else (
                        f"ssh {node} sudo ls -la /var/lib/kubelet    # is it there under another name? move it back",
                        f"ssh {node} sudo kubeadm upgrade node phase kubelet-config    # or: writes it anew from the "
                        "cluster's ConfigMap",
                    )
                ),
            ),
            touches=start.touches,
            severity=start.severity,
            later=start.waits,
        )
