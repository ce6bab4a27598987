"""A claim waits for a provisioner that does not run or does not answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdiag.check import (
    CLAIM_UNBOUND,
    Evidence,
    Finding,
    Gap,
    Layer,
    Ref,
    Severity,
    Shared,
    check,
    kubectl,
    listing,
    middle,
)
from kdiag.facts import Cluster, CSIDrivers, Events, Lack, Owners, Pod, Pods, Unbound, UnboundClaims

#: In-tree names that are served by a CSI driver today.
_MIGRATED = {
    "kubernetes.io/aws-ebs": "ebs.csi.aws.com",
    "kubernetes.io/gce-pd": "pd.csi.storage.gke.io",
    "kubernetes.io/azure-disk": "disk.csi.azure.com",
    "kubernetes.io/azure-file": "file.csi.azure.com",
    "kubernetes.io/cinder": "cinder.csi.openstack.org",
    "kubernetes.io/vsphere-volume": "csi.vsphere.vmware.com",
    "kubernetes.io/portworx-volume": "pxd.portworx.com",
}
_PATIENCE = 600
#: What stands before the driver's own words, of which the end tells most.
_WRAPPED = re.compile(r'^failed to provision volume with StorageClass "[^"]*": (?:rpc error: code = \w+ desc = )?')


@check(
    title="Provisioner does not make the volume",
    severity=Severity.ERROR,
    layer=Layer.VOLUME,
    explains=CLAIM_UNBOUND,
    tags=("storage", "csi", "volumes"),
)
def provisioner_absent(
    unbound: UnboundClaims,
    pods: Pods,
    owners: Owners,
    cluster: Cluster,
    drivers: CSIDrivers | None,
    events: Events | None,
) -> Iterator[Finding | Gap]:
    """A provisioner that is at work gets minutes; one of which there is no trace is said at once."""
    running: dict[str, list[Pod]] = {}
    for one in unbound.of(Lack.NO_ANSWER):
        storage_class = one.storage_class
        if storage_class is None:
            continue
        name = _MIGRATED.get(storage_class.provisioner, storage_class.provisioner)
        claim = one.claim
        age = cluster.age(claim.created)
        said = events.latest(claim.ref(), "ProvisioningFailed") if events else None
        failed = said is not None and said.component not in ("", "persistentvolume-controller")
        if name not in running:
            running[name] = [p for p in pods.items if not p.finished and _mentions(p, name)]
        serving = running[name]
        installed = drivers is not None and drivers.get(name) is not None
        ill = [p for p in serving if not p.ready]
        if said and failed and age > 30:
            why = f"provisioner {name} fails: {middle(_WRAPPED.sub('', said.message), 170)}"
        elif serving and len(ill) == len(serving) and age > 30:
            why = f"the pods of provisioner {name} are not ready"
        elif not serving and not installed and age > 60:
            # Each CSI driver brings a CSIDriver object; others are known only by their pods.
            if drivers is None or (pods.scope and "csi" not in name):
                yield Gap("pods", f"whether provisioner {name} runs was not seen")
                continue
            why = f"nothing in the cluster is provisioner {name}"
        elif age > _PATIENCE:
            why = f"provisioner {name} has not answered"
        else:
            continue
        yield Finding(
            claim.ref(),
            f"Claim {claim.ref().path} gets no volume: {why}",
            evidence=tuple(_evidence(one, name, serving, events)),
            next=tuple(_next(one, name, serving)),
            touches=(
                Ref("StorageClass", storage_class.name),
                *(p.ref() for p in one.users[:50]),
                *dict.fromkeys(owners.top(p) for p in ill),
            ),
            key=name,
            severity=Severity.ERROR if one.users else Severity.WARNING,
            shared=Shared(
                Ref("StorageClass", storage_class.name),
                f"Storage class {storage_class.name} gives no volume: "
                + (f"provisioner {name} fails" if said and failed else why),
                "wait for one",
            ),
        )


def _mentions(pod: Pod, name: str) -> bool:
    """Whether a pod serves this provisioner, by an argument, a variable or a label that names it."""
    return name in pod.labels.values() or any(
        any(name == word or word.endswith(f"={name}") or f"/{name}/" in word for word in (*c.command, *c.args))
        or any(e.value == name for e in c.env)
        for c in pod.spec.containers
    )


def _evidence(one: Unbound, name: str, serving: list[Pod], events: Events | None) -> Iterator[Evidence]:
    claim = one.claim
    said = events.latest(claim.ref(), "ProvisioningFailed", "ExternalProvisioning") if events else None
    yield Evidence(
        kubectl("describe", "pvc", claim.name, namespace=claim.namespace),
        said.message if said else f"Pending, StorageClass {claim.spec.storage_class_name}",
    )
    yield Evidence(
        kubectl("get", "storageclass", claim.spec.storage_class_name or ""),
        f"PROVISIONER {one.storage_class.provisioner if one.storage_class else name}",
    )
    if serving:
        yield Evidence(
            kubectl("get", "pods", namespace=serving[0].namespace),
            listing([f"{p.name} {'ready' if p.ready else p.phase + ', not ready'}" for p in serving], 3),
        )
    else:
        yield Evidence("kubectl get csidrivers; kubectl get pods -A", f"none is or names {name}")


def _next(one: Unbound, name: str, serving: list[Pod]) -> Iterator[str]:
    claim = one.claim
    if serving:
        yield kubectl("logs", serving[0].name, "--all-containers", "--tail=50", namespace=serving[0].namespace)
    else:
        yield f"install the provisioner {name} (its controller), or correct the class's provisioner"
    yield "kubectl get storageclass  # or use a class whose provisioner runs"
    yield kubectl("describe", "pvc", claim.name, namespace=claim.namespace)
