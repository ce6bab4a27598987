"""The resolv.conf that the kubelet gives to pods does not exist, so that it cannot start any."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, present
from kdiag.facts import (
    EMPTY,
    Cluster,
    KubeletJournal,
    Kubelets,
    KubeletSetup,
    Units,
    file_line,
    journal_line,
    retry,
    setups,
)

_DEFAULT = "/etc/resolv.conf"


@check(
    title="Kubelet's resolv.conf is missing",
    severity=Severity.ERROR,
    layer=Layer.NODE,
    explains=("network/pod_sandbox_fails", "application/pod_not_ready"),
    tags=("node", "kubelet", "dns", "config"),
)
def kubelet_resolv_conf_missing(
    kubelets: Kubelets, units: Units, cluster: Cluster, journal: KubeletJournal | None
) -> Iterator[Finding]:
    """Pods that run go on; a new one waits in ContainerCreating. The usual cause: systemd-resolved was switched off."""
    filled = [node for node, setup in kubelets if setup.files.get(_given(setup)[0], "") not in ("", EMPTY)]
    for node, setup, _ in setups(kubelets, units):
        path, source, line = _given(setup)
        if filled and setup.empty(path):
            yield _empty(node, path, filled[0])
        if not path or not setup.missing(path) or setup.unjoined:
            continue
        log = journal.get(node) if journal else None
        told = log.find(rf"open {path}: no such file") if log else None
        other = path != _DEFAULT and setup.files.get(_DEFAULT, "") != ""
        place = f" ({source}:{line})" if source else ""
        yield Finding(
            Ref("Node", node),
            f"kubelet on {node} cannot start pods: resolvConf {path}{place} does not exist",
            evidence=present(
                Evidence(f"ls {path}", "No such file or directory", node),
                file_line(source, line, f"resolvConf: {path}", node) if source else None,
                journal_line(told, node) if told and cluster.age(told.when) < 600 else None,
            ),
            next=present(
                f"ssh {node} sudo systemctl enable --now systemd-resolved    # it writes the file"
                if "systemd/resolve" in path
                else None,
                *(
                    retry(node, f"ssh -t {node} sudoedit {source}    # or: resolvConf: {_DEFAULT}")
                    if other and source
                    else [f"ssh {node} ls -l {path}    # a link to nowhere? make the file anew"]
                ),
            ),
        )


def _empty(node: str, path: str, other: str) -> Finding:
    """Where all nodes have none, nobody here needs names from outside."""
    return Finding(
        Ref("Node", node),
        f"{path} of {node} is empty: it finds no registry by name, and pods that take its DNS (CoreDNS) get none",
        evidence=(
            Evidence(f"stat -L -c %F {path}", EMPTY, node),
            Evidence(f"stat -L -c %F {path}", "regular file", other),
        ),
        next=(
            f"ssh {other} cat {path}    # what {node} should have, mostly",
            f"ssh {node} ls -l {path}    # a link? then systemd-resolved or NetworkManager writes it",
        ),
        key="empty",
        severity=Severity.WARNING,
    )


def _given(setup: KubeletSetup) -> tuple[str, str, int]:
    config, flag = setup.config, setup.flag("resolv-conf")
    if flag is None and config and not config.absent and config.get("resolvConf") is None:
        return _DEFAULT, "", 0
    return setup.given("resolv-conf", "resolvConf")
