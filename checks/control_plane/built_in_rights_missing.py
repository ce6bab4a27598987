"""A role or binding that Kubernetes makes for its own components is gone, so one of them may not do its work."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import (
    CONTROLLERS,
    Evidence,
    Finding,
    Layer,
    Ref,
    Severity,
    Skip,
    check,
    controller,
    kubectl,
    listing,
    present,
)
from kdiag.facts import Access, Cluster, DaemonSets, Subject

_CONTROLLER = "system:controller:"
_USERS = {"kube-scheduler": Ref("Lease", "kube-scheduler", "kube-system"), "kube-controller-manager": CONTROLLERS}
_BOOTSTRAPPING = "kubernetes.io/bootstrapping"
#: kubeadm makes the DaemonSet and what it may do one after the other: seconds.
_NEW = 60.0


@check(
    title="Component lacks its built-in rights",
    severity=Severity.CRITICAL,
    layer=Layer.APISERVER,
    explains=(
        "application/api_access_forbidden",
        "application/cronjob_not_running",
        "application/namespace_stuck_terminating",
        "application/pod_never_scheduled",
        "application/rollout_stuck",
        "application/workload_unavailable",
        "control_plane/controller_manager_not_running",
        "control_plane/scheduler_not_running",
        "network/endpointslice_stale",
        "network/kube_proxy_not_running",
        "network/kube_proxy_rules_missing",
    ),
    tags=("access", "rbac", "scheduler", "controllers", "kube-proxy"),
    namespaces=("kube-system",),
)
def built_in_rights_missing(
    access: Access, cluster: Cluster, daemonsets: DaemonSets | None
) -> Iterator[Finding | Skip]:
    """The component runs and is ready; what it asks for is refused from that moment on, or when its watch ends."""
    roles = {r.name: r for r in access.cluster_roles.items}
    bindings = {b.name: b for b in access.cluster_bindings.items}
    if not any(_BOOTSTRAPPING in r.labels for r in access.cluster_roles.items):
        yield Skip("the API server has made no roles of its own: it does not decide by RBAC")
        return
    wanted: list[tuple[str, Subject, str, str, Ref]] = [
        (part, Subject(kind="User", name=f"system:{part}"), f"system:{part}", f"system:{part}", stops)
        for part, stops in _USERS.items()
    ]
    for name in sorted({*roles, *bindings}):
        made = roles.get(name) or bindings.get(name)
        if name.startswith(_CONTROLLER) and made and _BOOTSTRAPPING in made.labels:
            account = Subject(kind="ServiceAccount", name=name.removeprefix(_CONTROLLER), namespace="kube-system")
            stops = controller(account.name)
            wanted.append((f"the {account.name} of kube-controller-manager", account, name, name, stops))
    # Others than kubeadm give kube-proxy its rights in ways of their own, or a kubeconfig of the node.
    kubeadm = any(name.startswith("kubeadm:") for name in bindings)
    proxy = daemonsets.get("kube-proxy", "kube-system") if daemonsets and kubeadm else None
    if proxy and cluster.age(proxy.created) > _NEW:
        account = Subject(
            kind="ServiceAccount", name=proxy.spec.template.spec.service_account_name, namespace="kube-system"
        )
        if account.name == "kube-proxy":
            wanted.append(("kube-proxy", account, "system:node-proxier", "kubeadm:node-proxier", proxy.ref()))
    for who, subject, role, binding, part in wanted:
        if access.holds(subject, role):
            continue
        ref = Ref("ClusterRoleBinding", binding)
        given = bindings.get(binding)
        if role not in roles:
            ref, why = Ref("ClusterRole", role), f"ClusterRole {role} does not exist"
        elif given is None:
            why = f"ClusterRoleBinding {binding} does not exist"
        elif given.role_ref.name != role:
            why = f"ClusterRoleBinding {binding} gives it {given.role_ref.name} in the place of {role}"
        else:
            why = f"ClusterRoleBinding {binding} gives {role} to {_names(given.subjects)}, not to {_name(subject)}"
        user = f"system:serviceaccount:{subject.namespace}:{subject.name}" if subject.namespace else subject.name
        yield Finding(
            ref,
            f"{who} may not do its work: {why}",
            evidence=(
                Evidence(
                    kubectl("get", ref.kind.lower(), ref.name, "-o", "yaml"), "not found" if "exist" in why else why
                ),
                Evidence(kubectl("auth", "can-i", "--list", f"--as={user}"), f"nothing of {role}"),
            ),
            next=tuple(_steps(ref, subject, role, there=given is not None)),
            touches=present(
                part,
                Ref(subject.kind, subject.name, subject.namespace)
                if subject.namespace and part.kind != "Controller"
                else None,
            ),
            severity=Severity.CRITICAL if who in _USERS else Severity.ERROR,
        )


def _steps(ref: Ref, subject: Subject, role: str, *, there: bool) -> Iterator[str]:
    again = "each start of kube-apiserver makes its own roles and bindings anew: ssh to its node, then "
    again += "sudo crictl stop $(sudo crictl ps -q --name kube-apiserver)"
    if ref.kind == "ClusterRole":
        yield again
        return
    if there:
        yield kubectl("delete", "clusterrolebinding", ref.name)
    whom = (
        f"--serviceaccount={subject.namespace}:{subject.name}"
        if subject.kind == "ServiceAccount"
        else f"--user={subject.name}"
    )
    yield kubectl("create", "clusterrolebinding", ref.name, f"--clusterrole={role}", whom)
    if not ref.name.startswith("kubeadm:"):
        yield again


def _name(subject: Subject) -> str:
    place = f"{subject.namespace}/" if subject.namespace else ""
    return f"{subject.kind} {place}{subject.name}"


def _names(subjects: tuple[Subject, ...]) -> str:
    return listing([_name(s) for s in subjects], 3) or "nobody"
