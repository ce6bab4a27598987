"""An API server does not reach the KMS plugin that holds the key of its Secrets, so it can read and write none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import API_SERVER_FAILS, CLUSTER, Evidence, Finding, Layer, Ref, Severity, check, present, shorten
from kdiag.facts import Cluster, Containers, Manifests, current_log, plain, said_lately, static_pod

#: Seconds: it tries again each quarter of a minute.
_LATELY = 90
_SAID = re.compile(r'"failed to create connection to unix socket" err="dial unix (?P<socket>/\S+): (?P<why>[^"]+)"')


@check(
    title="API server does not reach its KMS plugin",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(*API_SERVER_FAILS, "control_plane/api_server_unhealthy"),
    tags=("apiserver", "encryption", "secrets", "kms"),
)
def kms_unreachable(containers: Containers, cluster: Cluster, manifests: Manifests | None) -> Iterator[Finding]:
    """Its socket is named in a file that holds keys and is not read; the API server's own words name it as well."""
    servers = [node for node, seen in containers if seen.of("kube-apiserver")]
    for node, seen in containers:
        log = current_log(seen, "kube-apiserver")
        told = said_lately(log, _SAID, cluster, _LATELY)
        if log is None or not told:
            continue
        line, said = told[-1]
        socket, why = said["socket"], said["why"].removeprefix("connect: ")
        found = manifests.get(node) if manifests else None
        manifest = found.of("kube-apiserver") if found else None
        flag = manifest.flag("encryption-provider-config") if manifest else None
        named = f" ({manifest.where(flag.line)} --{flag.name})" if manifest and flag else ""
        hidden = manifest is not None and not any(manifest.on_host(socket))
        pod = static_pod("kube-apiserver", node)
        yield Finding(
            pod,
            f"{pod.name} cannot read or write Secrets: no KMS plugin answers at {socket}{named}: {why}"
            + ("; no volume of its manifest holds that path" if hidden else ""),
            evidence=present(
                manifest.quote(node, flag.line) if manifest and flag else None,
                Evidence(f"sudo tail -n 20 {log.path}", shorten(plain(line.text), 300), node),
            ),
            next=(
                f"ssh {node} sudo ls -l {socket}    # is it there on the node?",
                f"ssh {node} sudo crictl ps -a | grep -i kms    # the plugin: a static pod or a unit of the node",
                f"ssh -t {node} sudoedit {manifest.path}    # a hostPath volume for {socket.rpartition('/')[0]}"
                if manifest and hidden
                else "do not remove --encryption-provider-config: what is encrypted could not be read any more",
            ),
            touches=present(pod, Ref("Node", node), CLUSTER if len(servers) == 1 else None),
            severity=None if len(servers) == 1 else Severity.ERROR,
        )
