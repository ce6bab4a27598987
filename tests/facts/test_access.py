"""Whether a service account may do something, by its roles and bindings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kdiag.facts import Access
from kdiag.facts.access import ClusterRoleBindings, ClusterRoles, RoleBindings, Roles
from kdiag.model.observation import Observation
from kdiag.model.result import Gap


def fact(kind: Any, *items: Any) -> Any:
    builder = kind.builder()
    builder.feed(Observation("api", kind.sources[0].key, body=json.dumps({"items": items}).encode()))
    return builder.finish()


READ = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]}


def access(rule: Any = READ, subject: Any = None, *, local: bool = False) -> Access:
    subject = subject or {"kind": "ServiceAccount", "name": "robot", "namespace": "shop"}
    role = {"metadata": {"name": "reads"}, "rules": [rule]}
    ref = {"roleRef": {"kind": "ClusterRole", "name": "reads"}, "subjects": [subject]}
    binding = {"metadata": {"name": "b", **({"namespace": "shop"} if local else {})}, **ref}
    return Access.derive(
        fact(Roles),
        fact(ClusterRoles, role),
        fact(RoleBindings, *([binding] if local else [])),
        fact(ClusterRoleBindings, *([] if local else [binding])),
    )


def test_a_cluster_binding_holds_everywhere() -> None:
    assert access().allows("shop:robot", "list", "pods") is True
    assert access().allows("shop:robot", "list", "pods", "", "other") is True


def test_a_local_binding_holds_in_its_namespace_alone() -> None:
    assert access(local=True).allows("shop:robot", "list", "pods", "", "shop") is True
    assert access(local=True).allows("shop:robot", "list", "pods", "", "other") is False
    assert access(local=True).allows("shop:robot", "list", "pods") is False


@pytest.mark.parametrize(
    ("verb", "resource", "group"),
    [("delete", "pods", ""), ("list", "nodes", ""), ("list", "pods", "apps"), ("get", "pods/exec", "")],
)
def test_what_no_rule_names_is_not_allowed(verb: str, resource: str, group: str) -> None:
    assert access().allows("shop:robot", verb, resource, group) is False


def test_a_subresource_needs_its_own_name() -> None:
    assert access().allows("shop:robot", "get", "pods/log") is True
    assert access({**READ, "resources": ["pods"]}).allows("shop:robot", "get", "pods/log") is False
    assert access({**READ, "resources": ["*"]}).allows("shop:robot", "get", "pods/log") is True


def test_a_rule_for_named_objects_is_no_rule_for_all() -> None:
    assert access({**READ, "resourceNames": ["one"]}).allows("shop:robot", "list", "pods") is False


@pytest.mark.parametrize(
    "subject",
    [
        {"kind": "Group", "name": "system:serviceaccounts"},
        {"kind": "Group", "name": "system:serviceaccounts:shop"},
        {"kind": "Group", "name": "system:authenticated"},
        {"kind": "User", "name": "system:serviceaccount:shop:robot"},
    ],
)
def test_groups_and_the_account_as_a_user_count(subject: Any) -> None:
    assert access(subject=subject).allows("shop:robot", "list", "pods") is True
    assert access(subject={"kind": "Group", "name": "other"}).allows("shop:robot", "list", "pods") is False


def test_what_was_not_all_read_says_nothing() -> None:
    whole = access()
    partial = Access(
        roles=whole.roles,
        cluster_roles=whole.cluster_roles,
        bindings=whole.bindings,
        cluster_bindings=whole.cluster_bindings,
        gaps=(Gap("rolebindings", "403"),),
    )
    assert partial.allows("shop:robot", "list", "pods") is None


def sa(name: str, namespace: str) -> dict[str, str]:
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


@pytest.mark.parametrize(
    ("made", "wanted", "text"),
    [
        (access(subject=sa("robot", "default"), local=True), ("list", "pods", "", "shop"), "gives it to default/robot"),
        (access(subject=sa("robto", "shop"), local=True), ("list", "pods", "", "shop"), "gives it to shop/robto"),
        (access(local=True), ("list", "pods", "", "other"), "gives it in namespace shop only"),
        (access(local=True), ("watch", "pods", "", "shop"), "has get, list of pods alone"),
        (access({**READ, "resources": ["pod"]}), ("list", "pods", "", "shop"), "has pod in the place of pods"),
        (
            access({**READ, "resources": ["deployments"]}),
            ("list", "deployments", "apps", "shop"),
            "has deployments in API group core, and it is in apps",
        ),
    ],
)
def test_what_was_meant_to_allow_it_is_named(made: Access, wanted: tuple[str, str, str, str], text: str) -> None:
    near = made.near("shop:robot", *wanted)
    assert near is not None
    assert near[0].endswith(text)


def test_a_role_that_is_gone_is_named() -> None:
    made = access(local=True)
    gone = Access.derive(made.roles, fact(ClusterRoles), made.bindings, made.cluster_bindings)
    near = gone.near("shop:robot", "list", "pods", "", "shop")
    assert near is not None
    assert near[0] == "RoleBinding shop/b names ClusterRole reads, which does not exist"


def test_what_nothing_comes_near_has_no_name() -> None:
    assert access().near("other:stranger", "list", "pods", "", "other") is None
    assert access(local=True).near("shop:robot", "create", "secrets", "", "shop") is None
