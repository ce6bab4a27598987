"""A container cannot listen on its port because something in the same pod or on the node has it."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Severity, check, kubectl, listing, ssh
from kdiag.facts import (
    Events,
    Failures,
    Fault,
    Logs,
    edit,
    touched,
)

#: Who listens on each node.
_OF_NODES = {
    **{"10248": "the kubelet", "10250": "the kubelet"},
    **{"10249": "kube-proxy", "10256": "kube-proxy"},
}


@check(
    title="Port is already in use",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=("application/pod_not_ready", "application/job_failed"),
    tags=(
        "ports",
        "crash",
        "network",
    ),
)
def port_already_in_use(failures: Failures, events: Events | None, logs: Logs | None) -> Iterator[Finding]:
    """Containers of one pod share one network: so do pods on the host's network with the node."""
    for group in failures.of(Fault.PORT_IN_USE, events, logs):
        one = group[0]
        namespace = one.pod.namespace
        spec = one.pod.spec
        others = [c.name for c in spec.containers if c.name != one.container]
        same = [
            c.name
            for c in spec.containers
            if c.name != one.container and any(str(p.container_port) == one.about for p in c.ports)
        ]
        # Where the log names none, the one port that it declares is meant.
        declared = [str(p.container_port) for p in one.spec.ports]
        port = one.about or (declared[0] if len(declared) == 1 else "")
        if same:
            who = f"container {same[0]} of the same pod has it"
        elif spec.host_network:
            who = f"the pod is on the network of node {one.pod.node}, where {_OF_NODES.get(port, 'something')} has it"
        elif others:
            who = f"containers of one pod share their ports ({listing(others)})"
        else:
            who = "something else in the container has it"
        find = (
            ssh(one.pod.node, "sudo ss -ltnp")
            if spec.host_network
            else kubectl(
                "get",
                "pod",
                one.pod.name,
                "-o",
                'jsonpath={range .spec.containers[*]}{.name} {.ports[*].containerPort}{"\\\\n"}{end}',
                namespace=namespace,
            )
        )
        yield Finding(
            one.owner,
            f"{one.where} cannot listen on port {port or '(see its log)'}: {who}",
            evidence=(
                Evidence(kubectl(*one.log_command, namespace=namespace), one.said),
                Evidence(kubectl("get", "pod", one.pod.name, namespace=namespace), one.status),
            ),
            next=(
                find,
                edit(one, "another port for one of them"),
            ),
            touches=touched(group),
            key=one.container,
            since=one.started,
        )
