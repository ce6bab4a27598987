"""An object as a person names it on a command line, and the finding that is meant by it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kdiag.errors import UsageError
from kdiag.model.result import Finding, Ref

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:-]{0,251}[A-Za-z0-9])?")
#: Kinds by the words that kubectl takes for them.
_KINDS = {
    word: kind
    for kind, words in {
        "APIService": "apiservice",
        "ConfigMap": "configmap cm",
        "CSIDriver": "csidriver",
        "CronJob": "cronjob cj",
        "CustomResourceDefinition": "customresourcedefinition crd",
        "DaemonSet": "daemonset ds",
        "Deployment": "deployment deploy",
        "HorizontalPodAutoscaler": "horizontalpodautoscaler hpa",
        "Gateway": "gateway gtw",
        "HTTPRoute": "httproute",
        "Ingress": "ingress ing",
        "IngressClass": "ingressclass",
        "Job": "job",
        "Lease": "lease",
        "MutatingWebhookConfiguration": "mutatingwebhookconfiguration",
        "Namespace": "namespace ns",
        "NetworkPolicy": "networkpolicy netpol",
        "Node": "node no",
        "PersistentVolume": "persistentvolume pv",
        "PersistentVolumeClaim": "persistentvolumeclaim pvc",
        "Pod": "pod po",
        "PodDisruptionBudget": "poddisruptionbudget pdb",
        "PriorityClass": "priorityclass pc",
        "ReplicaSet": "replicaset rs",
        "ReplicationController": "replicationcontroller rc",
        "ResourceQuota": "resourcequota quota",
        "Secret": "secret",
        "Service": "service svc",
        "ServiceAccount": "serviceaccount sa",
        "StatefulSet": "statefulset sts",
        "StorageClass": "storageclass sc",
        "ValidatingWebhookConfiguration": "validatingwebhookconfiguration",
    }.items()
    for word in words.split()
}
_WITHOUT_NAMESPACE = frozenset(
    {
        "APIService",
        "CSIDriver",
        "Cluster",
        "CustomResourceDefinition",
        "IngressClass",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
    }
    | {"StorageClass", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """``shop/web``, ``service/shop/web``, ``node/w1``. ``kind`` is empty where it was not said."""

    name: str
    namespace: str = ""
    kind: str = ""

    @classmethod
    def parse(cls, word: str) -> Wanted:
        """Raises UsageError for what names no object."""
        parts = word.split("/")
        if not all(_NAME.fullmatch(part) for part in parts) or len(parts) not in (2, 3):
            raise UsageError(f"{word!r} names no object: write NAMESPACE/NAME, KIND/NAMESPACE/NAME or node/NAME")
        kind = _kind(parts[0])
        if len(parts) == 3:
            return cls(kind=kind or parts[0].capitalize(), namespace=parts[1], name=parts[2])
        if kind in _WITHOUT_NAMESPACE:
            return cls(kind=kind, name=parts[1])
        return cls(namespace=parts[0], name=parts[1])

    def __str__(self) -> str:
        return str(self.ref()) if self.kind else self.ref().path

    def names(self, ref: Ref) -> bool:
        """Whether this object is meant."""
        same = self.name == ref.name and self.namespace == ref.namespace
        return same and self.kind.lower() in ("", ref.kind.lower())

    def ref(self) -> Ref:
        """The object; its kind is empty where it was not said."""
        return Ref(self.kind, self.name, self.namespace)


def _kind(word: str) -> str:
    plain = word.lower()
    return _KINDS.get(plain) or _KINDS.get(plain.removesuffix("s")) or _KINDS.get(plain.removesuffix("es")) or ""


def meant(findings: Sequence[Finding], wanted: Wanted | None) -> Finding | None:
    """The finding about that object, else one that touches it; the first of all where no object was named."""
    if wanted is None:
        return next(iter(findings), None)
    about = [f for f in findings if wanted.names(f.subject)]
    near = [f for f in findings if any(wanted.names(ref) for ref in f.touches)]
    return next(iter([*about, *near]), None)
