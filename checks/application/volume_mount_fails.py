"""The kubelet cannot mount a pod's volume."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, kubectl, present, shorten, ssh
from kdiag.facts import (
    Claims,
    Cluster,
    Event,
    Events,
    Owners,
    PersistentVolumeClaim,
    Pod,
    Pods,
    StorageClasses,
)

_FIRST = re.compile(
    r"(?:Mount|Map|Attach|Unmap)Volume\.\w+(?: initialization)? failed for volume"
    r" \"(?P<volume>[^\"]+)\"\s*:\s*(?P<why>.*)",
    re.DOTALL,
)
#: The line of a mount's output that says most.
_TELLS = re.compile(r"denied|No such file|timed out|refused|not exist|wrong fs|[Ff]ailed to resolve|rpc\.statd|busy")
_WRAPPER = re.compile(r"Unable to attach or mount volumes: unmounted volumes=\[(?P<volume>[^\]]*)\]")
#: These have checks of their own, or pass by themselves.
_OTHERS = re.compile(
    r"not found in the list of registered CSI drivers|Multi-Attach error|external-attacher of \S+ CSI driver"
    r"|(?:configmap|secret|serviceaccount) \"[^\"]*\" not found|object \"[^\"]*\"/\"[^\"]*\" not registered"
    r"|references non-existent (?:config|secret) key|failed to sync (?:configmap|secret) cache|failed to fetch token"
    r"|(?:configmaps?|secrets?) \"[^\"]*\" (?:is forbidden|not found)"
)


@check(
    title="Volume cannot be mounted",
    severity=Severity.ERROR,
    layer=Layer.VOLUME,
    explains=(
        "application/pod_not_ready",
        "application/workload_unavailable",
    ),
    tags=("storage", "volumes", "kubelet"),
)
def volume_mount_fails(
    pods: Pods,
    events: Events,
    owners: Owners,
    cluster: Cluster,
    claims: Claims | None,
    classes: StorageClasses | None,
) -> Iterator[Finding]:
    """The kubelet tries again every two minutes, so a pod that still waits has fresh events."""
    waiting = [
        p
        for p in pods.troubled
        if p.phase == "Pending" and p.node and not p.terminating and cluster.age(p.created) > 20
    ]
    seen: set[tuple[Ref, str]] = set()
    for pod in waiting:
        owner = owners.top(pod)
        for volume, why, event in _failures(pod, events, cluster):
            if (owner, volume) in seen:
                continue
            seen.add((owner, volume))
            claim = _pending(pod, volume, claims)
            if claim and classes and (known := classes.get(claim.spec.storage_class_name or "")) and known.waits:
                yield _past_the_scheduler(owner, pod, claim, volume, event)
                continue
            source = _source(pod, volume, claims)
            text, steps = _explain(why, pod, source) if claim is None else _unbound(claim)
            yield Finding(
                owner,
                f"{owner} cannot mount {source} on {pod.node}: {text}",
                evidence=(
                    Evidence(
                        kubectl("describe", "pod", pod.name, namespace=pod.namespace),
                        f"{event.reason}: {shorten(_plain(event.message), 400)}",
                    ),
                ),
                next=steps,
                touches=present(pod.ref(), claim.ref() if claim else None),
                key=volume,
                since=event.first.isoformat() if event.first else "",
            )


def _failures(pod: Pod, events: Events, cluster: Cluster) -> Iterator[tuple[str, str, Event]]:
    """For each volume the newest plain reason; the wrapper's only where the reason itself has expired."""
    found: dict[str, tuple[str, Event]] = {}
    wrapped: Event | None = None
    for event in events.about(pod.ref(), "FailedMount", "FailedAttachVolume", "FailedMapVolume"):
        if cluster.age(event.when) > 900:
            continue
        if match := _FIRST.search(event.message):
            volume = match["volume"]
            if _OTHERS.search(event.message):
                return
            found.setdefault(volume, (match["why"], event))
        elif _WRAPPER.search(event.message):
            wrapped = wrapped or event
    for volume, (why, event) in found.items():
        yield volume, why, event
    if not found and wrapped is not None and (match := _WRAPPER.search(wrapped.message)):
        for volume in match["volume"].replace(",", " ").split():
            if not volume.startswith("kube-api-access"):
                yield volume, "", wrapped


def _pending(pod: Pod, volume: str, claims: Claims | None) -> PersistentVolumeClaim | None:
    """The claim behind a volume, where it is not bound and the scheduler has chosen no node for it."""
    source = next((v.persistent_volume_claim for v in pod.spec.volumes if v.name == volume), None)
    claim = claims.get(source.claim_name, pod.namespace) if claims and source else None
    waits = claim is not None and claim.status.phase == "Pending" and not claim.metadata.annotations.selected_node
    return claim if waits else None


def _unbound(claim: PersistentVolumeClaim) -> tuple[str, tuple[str, ...]]:
    return "it is not bound to a volume", (kubectl("describe", "pvc", claim.name, namespace=claim.namespace),)


def _past_the_scheduler(owner: Ref, pod: Pod, claim: PersistentVolumeClaim, volume: str, event: Event) -> Finding:
    """A pod that is given a node by hand is seen by no scheduler, and so its claim waits for ever."""
    kind, namespace = owner.kind.lower(), owner.namespace
    patch = '[{"op":"remove","path":"/spec/template/spec/nodeName"}]'
    steps = (
        (
            kubectl("patch", kind, owner.name, "--type=json", "-p", patch, namespace=namespace),
            f"to keep it on {pod.node}: nodeSelector kubernetes.io/hostname={pod.node} in place of nodeName",
        )
        if owner.kind in ("Deployment", "StatefulSet", "DaemonSet")
        else (f"make {owner} anew with nodeSelector kubernetes.io/hostname={pod.node} in place of nodeName",)
    )
    return Finding(
        owner,
        f"{owner} waits for claim {claim.name}, which waits for the scheduler to place a pod: nodeName {pod.node} goes"
        " past it",
        evidence=(
            Evidence(
                kubectl("describe", "pod", pod.name, namespace=pod.namespace),
                f"{event.reason}: {shorten(_plain(event.message), 400)}",
            ),
            Evidence(
                kubectl("get", "pvc", claim.name, namespace=claim.namespace),
                f"Pending, class {claim.spec.storage_class_name}: WaitForFirstConsumer",
            ),
        ),
        next=steps,
        touches=(pod.ref(), claim.ref()),
        key=volume,
        since=event.first.isoformat() if event.first else "",
    )


def _plain(message: str) -> str:
    """Without the command line that the kubelet ran."""
    return re.sub(r"\s*Mounting command:.*?Output:", " …", message, flags=re.DOTALL)


def _source(pod: Pod, name: str, claims: Claims | None) -> str:
    """What the volume is; the event names the pod's volume, or the PersistentVolume behind a claim."""
    for v in pod.spec.volumes:
        claim_name = v.persistent_volume_claim.claim_name if v.persistent_volume_claim else ""
        claim = claims.get(claim_name, pod.namespace) if claims and claim_name else None
        if v.name != name and not (claim and claim.spec.volume_name == name):
            continue
        if v.nfs:
            return f"NFS {v.nfs.server}:{v.nfs.path}"
        if v.host_path:
            return f"hostPath {v.host_path.path}"
        if claim_name:
            return f"claim {claim_name}"
        if v.csi:
            return f"CSI volume {v.name} ({v.csi.driver})"
        return f"volume {v.name}"
    return f"volume {name}"


def _explain(why: str, pod: Pod, source: str) -> tuple[str, tuple[str, ...]]:
    node = pod.node
    if match := re.search(r"hostPath type check failed: (\S+) is not an? (.+)", why):
        kind = match[2].strip()
        return (
            f"{match[1]} is no {kind} there, or does not exist",
            (
                ssh(node, f"ls -ld {match[1]}"),
                f"make the {kind} on every node that may run the pod, or correct hostPath.path or .type "
                "(DirectoryOrCreate makes it)",
            ),
        )
    if match := re.search(r"path \"(?P<path>/[^\"]+)\" does not exist", why):
        return (
            f"local path {match['path']} does not exist there",
            (
                ssh(node, f"ls -ld {match['path']}") + "   # is a disk to be mounted there, or the folder to be made?",
                kubectl("get", "pv", "-o", "custom-columns=NAME:.metadata.name,PATH:.spec.local.path"),
            ),
        )
    if match := re.search(r"unknown filesystem type '(\w+)'|need a /sbin/mount\.(\w+|<type>) helper", why):
        kind = match[1] or (match[2] if match[2] != "<type>" else _kind(why) or "this filesystem")
        return (
            f"the node cannot mount {kind}: its mount helper is not installed",
            (
                ssh(node, "sudo apt-get install nfs-common") + "  # or nfs-utils; on every node",
                ssh(node, "ls /sbin/mount.*"),
            ),
        )
    lines = [re.sub(r"^(?:Output|mount(?:\.\w+)?): ", "", line.strip()) for line in re.split(r"\n| ⏎ ", why)]
    output = next((x for x in lines if _TELLS.search(x)), "")
    if match := re.search(r"wrong fs type, .*?bad superblock on ([^\s,]+)", output):
        return (
            f"{match[1]} holds no {_kind(why) or 'such'} filesystem, or a damaged one",
            (ssh(node, f"sudo blkid {match[1]}"), ssh(node, "sudo dmesg | tail -n 20")),
        )
    if re.search(r"access denied by server|No such file or directory", output) and source.startswith("NFS"):
        return (
            "the server does not export that path to this node",
            (
                ssh(node, f"showmount -e {source.split()[1].split(':')[0]}"),
                "correct the path, or the server's /etc/exports",
            ),
        )
    if re.search(r"[Cc]onnection (?:timed out|refused)|No route to host", why) and source.startswith("NFS"):
        server = source.split()[1].split(":")[0]
        return "the server does not answer", (ssh(node, f"nc -vz {server} 2049"),)
    if not why:
        return (
            "it timed out, and the event with the reason has expired",
            (ssh(node, f"sudo journalctl -u kubelet --since -15min | grep {pod.name}"),),
        )
    return (
        shorten(output or next((x for x in lines if x), ""), 160),
        (
            kubectl("describe", "pod", pod.name, namespace=pod.namespace),
            ssh(node, f"sudo journalctl -u kubelet --since -15min | grep {pod.name}"),
        ),
    )


def _kind(why: str) -> str:
    """The type of filesystem that mount was told."""
    match = re.search(r"-t (\w+) ", why)
    return match[1] if match else ""
