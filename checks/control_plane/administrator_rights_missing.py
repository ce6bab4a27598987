"""Administrators of a kubeadm cluster may read nothing: the binding that gives them rights is gone or changed."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import Evidence, Finding, Layer, Ref, Severity, Skip, check, kubectl, listing
from kdiag.facts import ADMINISTRATORS, Cluster, Manifests

_SUPER = "/etc/kubernetes/super-admin.conf"


@check(
    title="Administrators have lost their rights",
    severity=Severity.ERROR,
    layer=Layer.APISERVER,
    tags=("access", "rbac", "api"),
)
def administrator_rights_missing(cluster: Cluster, manifests: Manifests | None) -> Iterator[Finding | Skip]:
    """The workloads run on. Nothing else can be told over the API, so this is said before anything else."""
    if ADMINISTRATORS not in cluster.refused_groups:
        return
    found = [(node, m) for node, m in manifests or () if m.of("kube-apiserver")]
    for _, mine in found:
        manifest = mine.of("kube-apiserver")
        modes = manifest.flag("authorization-mode") if manifest else None
        if modes and "RBAC" not in modes.value.split(","):
            yield Skip("the API server does not decide by RBAC")
            return
    node = found[0][0] if found else "CONTROL-PLANE-NODE"
    admin = f"ssh {node} sudo kubectl --kubeconfig {_SUPER}"
    yield Finding(
        Ref("ClusterRoleBinding", ADMINISTRATORS),
        f"{cluster.refused_user} of group {ADMINISTRATORS} may not list pods: ClusterRoleBinding {ADMINISTRATORS}, "
        "which makes that group administrators, is gone or changed",
        evidence=(
            Evidence(
                kubectl("auth", "whoami"),
                f"Username {cluster.refused_user}, Groups {listing(list(cluster.refused_groups), 4)}",
            ),
            Evidence(kubectl("get", "pods", "-A"), "Forbidden"),
        ),
        next=(
            f"{admin} get clusterrolebinding {ADMINISTRATORS} -o yaml    # this user may do all",
            f"{admin} create clusterrolebinding {ADMINISTRATORS} --clusterrole=cluster-admin --group={ADMINISTRATORS}",
            "where it exists with another roleRef: delete it first, for a roleRef cannot be changed",
        ),
    )
