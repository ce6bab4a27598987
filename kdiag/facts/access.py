"""Roles and bindings: whether a service account may do something at this moment, whatever its log says of earlier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from kdiag.facts.base import ApiList, Derived, Objects
from kdiag.facts.meta import Lean, Object
from kdiag.model.result import Ref
from kdiag.model.text import listing, nearest

_GROUP = "rbac.authorization.k8s.io/v1"


class PolicyRule(Lean, frozen=True, gc=False):
    """What one rule of a role allows."""

    verbs: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()

    def allows(self, verb: str, group: str, resource: str) -> bool:
        """Whether it allows this on every object of the kind; ``resource`` may name a subresource after a slash."""
        if self.resource_names:
            return False
        part = resource.partition("/")[2]
        kinds = {"*", resource, f"*/{part}"} if part else {"*", resource}
        return (
            bool({"*", verb} & set(self.verbs))
            and bool({"*", group} & set(self.api_groups))
            and bool(kinds & set(self.resources))
        )


class RoleRef(Lean, frozen=True, gc=False):
    """The role that a binding gives."""

    kind: str = ""
    name: str = ""


class Subject(Lean, frozen=True, gc=False):
    """Whom a binding gives it to."""

    kind: str = ""
    name: str = ""
    namespace: str = ""


class Role(Object, frozen=True, gc=False):
    """A role of one namespace."""

    rules: tuple[PolicyRule, ...] = ()


class ClusterRole(Object, frozen=True, gc=False):
    """A role of the cluster; an aggregated one holds the rules of its parts."""

    rules: tuple[PolicyRule, ...] = ()


class RoleBinding(Object, frozen=True, gc=False):
    """A binding in one namespace."""

    role_ref: RoleRef = RoleRef()
    subjects: tuple[Subject, ...] = ()


class ClusterRoleBinding(Object, frozen=True, gc=False):
    """A binding over the cluster."""

    role_ref: RoleRef = RoleRef()
    subjects: tuple[Subject, ...] = ()


class Roles(Objects[Role]):
    """Every Role."""

    item: ClassVar[type[Any]] = Role
    sources = (ApiList("roles", _GROUP, "roles"),)


class ClusterRoles(Objects[ClusterRole]):
    """Every ClusterRole."""

    item: ClassVar[type[Any]] = ClusterRole
    sources = (ApiList("clusterroles", _GROUP, "clusterroles", namespaced=False),)


class RoleBindings(Objects[RoleBinding]):
    """Every RoleBinding."""

    item: ClassVar[type[Any]] = RoleBinding
    sources = (ApiList("rolebindings", _GROUP, "rolebindings"),)


class ClusterRoleBindings(Objects[ClusterRoleBinding]):
    """Every ClusterRoleBinding."""

    item: ClassVar[type[Any]] = ClusterRoleBinding
    sources = (ApiList("clusterrolebindings", _GROUP, "clusterrolebindings", namespaced=False),)


@dataclass(frozen=True, kw_only=True)
class Access(Derived):
    """What service accounts may do by RBAC. Says nothing of other authorisers."""

    roles: Roles = field(default_factory=Roles)
    cluster_roles: ClusterRoles = field(default_factory=ClusterRoles)
    bindings: RoleBindings = field(default_factory=RoleBindings)
    cluster_bindings: ClusterRoleBindings = field(default_factory=ClusterRoleBindings)

    @classmethod
    def derive(
        cls,
        roles: Roles,
        cluster_roles: ClusterRoles,
        bindings: RoleBindings,
        cluster_bindings: ClusterRoleBindings,
    ) -> Access:
        """Join roles and bindings."""
        return cls(roles=roles, cluster_roles=cluster_roles, bindings=bindings, cluster_bindings=cluster_bindings)

    def allows(self, account: str, verb: str, resource: str, group: str = "", namespace: str = "") -> bool | None:
        """Whether service account ``NAMESPACE:NAME`` may do this in a namespace, or in all (empty).

        None when roles or bindings were not all read: then nothing is known.
        """
        if self.gaps or (self.roles.scope and not self.roles.covers(namespace)):
            return None
        return any(rule.allows(verb, group, resource) for rule in self._rules(account, namespace))

    def near(
        self, account: str, verb: str, resource: str, group: str = "", namespace: str = ""
    ) -> tuple[str, Ref] | None:
        """What was probably meant to allow it, why it does not, and the object to correct."""
        bindings: list[tuple[RoleBinding | ClusterRoleBinding, str]] = [(b, "") for b in self.cluster_bindings.items]
        bindings += [(b, namespace) for b in self.bindings.within(namespace)] if namespace else []
        for binding, here in bindings:
            if not self._binds(binding.subjects, account, here):
                continue
            role = binding.role_ref
            ref = Ref(role.kind, role.name, "" if role.kind == "ClusterRole" else here)
            if not self._of(role, here) and not self._exists(role, here):
                return f"{binding.ref()} names {role.kind} {role.name}, which does not exist", binding.ref()
            for rule in self._of(role, here):
                if why := _differs(rule, verb, group, resource):
                    return f"{ref} has {why}", ref
        for binding, here in bindings:
            if any(rule.allows(verb, group, resource) for rule in self._of(binding.role_ref, here)):
                for subject in binding.subjects:
                    place = subject.namespace or here
                    if subject.kind == "ServiceAccount" and _alike(f"{place}:{subject.name}", account):
                        return f"{binding.ref()} gives it to {place}/{subject.name}", binding.ref()
        for other in self.bindings.items if namespace else ():
            if other.namespace == namespace or not self._binds(other.subjects, account, other.namespace):
                continue
            if any(rule.allows(verb, group, resource) for rule in self._of(other.role_ref, other.namespace)):
                return f"{other.ref()} gives it in namespace {other.namespace} only", other.ref()
        return None

    def holds(self, user: Subject, role: str) -> bool:
        """Whether a user or a service account has a ClusterRole over the cluster, or one that allows everything."""
        return any(
            b.role_ref.name in self._cluster_rules
            and (b.role_ref.name == role or any(r.allows("*", "*", "*") for r in self._cluster_rules[b.role_ref.name]))
            for b in self.cluster_bindings.items
            if self._given(b, user)
        )

    def _given(self, binding: ClusterRoleBinding, user: Subject) -> bool:
        if user.kind == "ServiceAccount":
            return self._binds(binding.subjects, f"{user.namespace}:{user.name}", "")
        mine = {("User", user.name), ("Group", "system:authenticated")}
        return any((s.kind, s.name) in mine for s in binding.subjects)

    def _exists(self, ref: RoleRef, namespace: str) -> bool:
        if ref.kind == "ClusterRole":
            return ref.name in self._cluster_rules
        return self.roles.get(ref.name, namespace) is not None

    def _rules(self, account: str, namespace: str) -> Iterator[PolicyRule]:
        for binding in self.cluster_bindings.items:
            if self._binds(binding.subjects, account, ""):
                yield from self._of(binding.role_ref, "")
        for local in self.bindings.within(namespace) if namespace else ():
            if self._binds(local.subjects, account, namespace):
                yield from self._of(local.role_ref, namespace)

    @staticmethod
    def _binds(subjects: tuple[Subject, ...], account: str, here: str) -> bool:
        namespace, _, name = account.partition(":")
        groups = {"system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"}
        for s in subjects:
            if s.kind == "ServiceAccount" and (s.namespace or here, s.name) == (namespace, name):
                return True
            if s.kind == "User" and s.name == f"system:serviceaccount:{namespace}:{name}":
                return True
            if s.kind == "Group" and s.name in groups:
                return True
        return False

    def _of(self, ref: RoleRef, namespace: str) -> tuple[PolicyRule, ...]:
        if ref.kind == "ClusterRole":
            return self._cluster_rules.get(ref.name, ())
        role = self.roles.get(ref.name, namespace)
        return role.rules if role else ()

    @cached_property
    def _cluster_rules(self) -> Mapping[str, tuple[PolicyRule, ...]]:
        return {role.name: role.rules for role in self.cluster_roles.items}


def _alike(given: str, account: str) -> bool:
    """Whether one account was probably written for the other: the same name elsewhere, or a slip of the pen here."""
    (there, other), (here, name) = given.split(":", 1), account.split(":", 1)
    return given != account and (other == name or (there == here and nearest(other, [name]) is not None))


def _differs(rule: PolicyRule, verb: str, group: str, resource: str) -> str:
    """What a rule has in the place of what is asked for, where one thing alone is wrong with it."""
    kinds, groups, verbs = set(rule.resources), set(rule.api_groups), set(rule.verbs)
    right = [bool({"*", verb} & verbs), bool({"*", group} & groups), bool({"*", resource} & kinds)]
    if right.count(False) != 1:
        return ""
    if not right[1]:
        return f"{resource} in API group {_words(groups)}, and it is in {group or 'the core group'}"
    if not right[2] and (close := nearest(resource, sorted(kinds))):
        return f"{close} in the place of {resource}"
    return f"{_words(verbs)} of {resource} alone" if not right[0] else ""


def _words(items: set[str]) -> str:
    return listing([item or "core" for item in sorted(items)], 3)
