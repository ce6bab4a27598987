"""The controller manager is told to run without a controller that the cluster cannot do without."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, check, controller, listing, whole
from kdiag.facts import Flag, Manifest, Manifests, manifest_repair, static_pod

#: What is left undone without each. Those that clouds or their own programs replace are not among them.
_WORK = {
    "certificatesigningrequest-approving-controller": "no kubelet's request for a certificate is approved",
    "certificatesigningrequest-signing-controller": "no certificate is signed: kubelets cannot join, nor renew theirs",
    "cronjob-controller": "no CronJob starts a Job",
    "daemonset-controller": "no DaemonSet gets its pods",
    "deployment-controller": "no Deployment is rolled out or scaled",
    "disruption-controller": "no disruption budget is counted, so drains that meet one hang",
    "endpoints-controller": "no Endpoints follow the pods",
    "endpointslice-controller": "no Service learns of new or gone pods",
    "garbage-collector-controller": "what a deleted object owned stays",
    "horizontal-pod-autoscaler-controller": "no autoscaler scales",
    "job-controller": "no Job gets its pods",
    "namespace-controller": "deleted namespaces stay in Terminating",
    "node-lifecycle-controller": "pods of a dead node stay where they are",
    "persistentvolume-attach-detach-controller": "no volume is attached",
    "persistentvolume-binder-controller": "no claim is bound",
    "pod-garbage-collector-controller": "pods of gone nodes stay",
    "replicaset-controller": "no ReplicaSet gets its pods",
    "resourcequota-controller": "quotas are not counted",
    "root-ca-certificate-publisher-controller": "pods of new namespaces cannot start: kube-root-ca.crt is missing",
    "serviceaccount-controller": "new namespaces get no service account, so no pod is made there",
    "statefulset-controller": "no StatefulSet gets its pods",
    "taint-eviction-controller": "no pod is evicted by a taint",
}
#: The names that were used before, and still are aliases.
_ALIASES = {
    "attachdetach": "persistentvolume-attach-detach-controller",
    "cronjob": "cronjob-controller",
    "csrapproving": "certificatesigningrequest-approving-controller",
    "csrsigning": "certificatesigningrequest-signing-controller",
    "daemonset": "daemonset-controller",
    "deployment": "deployment-controller",
    "disruption": "disruption-controller",
    "endpoint": "endpoints-controller",
    "endpointslice": "endpointslice-controller",
    "garbagecollector": "garbage-collector-controller",
    "horizontalpodautoscaling": "horizontal-pod-autoscaler-controller",
    "job": "job-controller",
    "namespace": "namespace-controller",
    "nodelifecycle": "node-lifecycle-controller",
    "persistentvolume-binder": "persistentvolume-binder-controller",
    "podgc": "pod-garbage-collector-controller",
    "replicaset": "replicaset-controller",
    "resourcequota": "resourcequota-controller",
    "root-ca-cert-publisher": "root-ca-certificate-publisher-controller",
    "serviceaccount": "serviceaccount-controller",
    "statefulset": "statefulset-controller",
}
_VITAL = (
    "daemonset-controller",
    "deployment-controller",
    "endpointslice-controller",
    "job-controller",
    "replicaset-controller",
    "serviceaccount-controller",
    "statefulset-controller",
)
#: By which name a controller is known to what depends on it, where that is another: that of its own account.
_ACCOUNTS = {
    "certificatesigningrequest-approving-controller": "certificate-controller",
    "certificatesigningrequest-signing-controller": "certificate-controller",
    "daemonset-controller": "daemon-set-controller",
    "endpoints-controller": "endpoint-controller",
    "horizontal-pod-autoscaler-controller": "horizontal-pod-autoscaler",
    "persistentvolume-binder-controller": "persistent-volume-binder",
    "root-ca-certificate-publisher-controller": "root-ca-cert-publisher",
    "serviceaccount-controller": "service-account-controller",
}
#: A controller with so many workers: with none it starts, and does nothing.
_WORKERS = {
    "concurrent-cron-job-syncs": "cronjob-controller",
    "concurrent-daemonset-syncs": "daemonset-controller",
    "concurrent-deployment-syncs": "deployment-controller",
    "concurrent-endpoint-syncs": "endpoints-controller",
    "concurrent-gc-syncs": "garbage-collector-controller",
    "concurrent-job-syncs": "job-controller",
    "concurrent-namespace-syncs": "namespace-controller",
    "concurrent-replicaset-syncs": "replicaset-controller",
    "concurrent-resource-quota-syncs": "resourcequota-controller",
    "concurrent-service-endpoint-syncs": "endpointslice-controller",
    "concurrent-statefulset-syncs": "statefulset-controller",
}


@check(
    title="Controller is turned off",
    severity=Severity.WARNING,
    layer=Layer.CONTROLLERS,
    explains=(
        "application/claim_unbindable",
        "application/configmap_missing",
        "application/cronjob_not_running",
        "application/namespace_stuck_terminating",
        "application/rollout_stuck",
        "application/service_account_missing",
        "application/workload_unavailable",
        "control_plane/kubelet_certificate_request_pending",
        "network/endpointslice_stale",
        "network/service_has_no_ready_endpoint",
    ),
    tags=("static-pods", "manifests", "flags", "controller-manager"),
)
def controller_disabled(manifests: Manifests) -> Iterator[Finding]:
    """The controller manager runs and looks well: it starts what --controllers names, and nothing else."""
    for node, found in manifests:
        manifest = found.of("kube-controller-manager")
        yield from _idle(node, manifest) if manifest else ()
        flag = manifest.flag("controllers") if manifest else None
        off = _off(flag) if flag else ()
        if manifest is None or flag is None or not off:
            continue
        vital = [name for name in off if name in _VITAL]
        first = (vital or list(off))[0]
        yield Finding(
            static_pod("kube-controller-manager", node),
            f"kube-controller-manager-{node} runs without {listing([first, *(o for o in off if o != first)], 3)}: "
            f"{manifest.where(flag.line)} --controllers={flag.value}: {_WORK[first]}",
            evidence=(
                manifest.quote(node, flag.line),
                Evidence("", f"off: {listing(off, 6)}", node),
            ),
            next=manifest_repair(node, manifest, flag.line, _repair(flag)),
            touches=tuple(map(_touched, off)),
            key="controllers",
            severity=Severity.ERROR if vital else None,
        )


def _idle(node: str, manifest: Manifest) -> Iterator[Finding]:
    """Controllers that are on, and have no worker."""
    for name, idle in _WORKERS.items():
        flag = manifest.flag(name)
        number = whole(flag.value.removeprefix("-")) if flag else None
        if flag is None or number is None or not (number == 0 or flag.value.startswith("-")):
            continue
        yield Finding(
            static_pod("kube-controller-manager", node),
            f"kube-controller-manager-{node} runs {idle} without a worker: "
            f"{manifest.where(flag.line)} --{name}={flag.value}: {_WORK[idle]}",
            evidence=(manifest.quote(node, flag.line),),
            next=manifest_repair(node, manifest, flag.line, f"remove --{name}, or --{name}=5"),
            touches=(_touched(idle),),
            key=name,
            severity=Severity.ERROR if idle in _VITAL else None,
        )


def _touched(name: str) -> Ref:
    """What stands still without this controller, and nothing of what the others do."""
    return controller(_ACCOUNTS.get(name, name))


def _off(flag: Flag) -> tuple[str, ...]:
    words = [w.strip() for w in flag.value.split(",") if w.strip()]
    on = {_ALIASES.get(w, w) for w in words}
    if not words or "<redacted:" in flag.value:
        return ()
    if "*" in words:
        return tuple(
            name for name in _WORK if f"-{name}" in on or {f"-{a}" for a, n in _ALIASES.items() if n == name} & on
        )
    return tuple(name for name in _WORK if name not in on)


def _repair(flag: Flag) -> str:
    kept = [w for w in flag.value.split(",") if not w.strip().startswith("-")]
    return "--controllers=" + ",".join(kept if "*" in kept else ["*", "bootstrapsigner", "tokencleaner"])
