"""Webhooks that the API server has nothing to ask, as things are."""

from __future__ import annotations

from kdiag.facts.admission import APIServices, Webhook
from kdiag.facts.configuration import Namespaces
from kdiag.model.text import listing

#: Kinds of every cluster whose objects are in a namespace.
_GROUPS = {"", "apps", "batch", "networking.k8s.io"}
_NAMESPACED = {
    *("pods", "services", "configmaps", "secrets", "serviceaccounts", "persistentvolumeclaims", "endpoints"),
    *("deployments", "statefulsets", "daemonsets", "replicasets", "jobs", "cronjobs", "ingresses", "networkpolicies"),
}


def not_called(hook: Webhook, apis: APIServices | None, namespaces: Namespaces | None) -> str:
    """What a webhook is for, in words, where there is none such at present; empty where it may be called."""
    served = {a.spec.group for a in apis.items} if apis and not apis.gaps else set()
    return _unserved(hook, served) or _unasked(hook, namespaces, closed=hook.failure_policy != "Ignore")


def _unserved(hook: Webhook, served: set[str]) -> str:
    """The API groups that it is for, where the API server knows none of them: those of an operator that is gone."""
    groups = {group for rule in hook.rules for group in rule.api_groups}
    known = served | _GROUPS | {"*"}
    return f"of {listing(sorted(groups))}, which nothing serves" if served and groups and not groups & known else ""


def _unasked(hook: Webhook, namespaces: Namespaces | None, *, closed: bool) -> str:
    """The namespaces that it is for, where there is none such at present and so nothing is asked of it."""
    selector = hook.namespace_selector
    if selector is None or namespaces is None or any(selector.matches(n.labels) for n in namespaces.items):
        return ""
    # What is in no namespace is seen whatever the selector says.
    inside = all(
        rule.scope == "Namespaced" or (set(rule.api_groups) <= _GROUPS and set(rule.resources) <= _NAMESPACED)
        for rule in hook.rules
    )
    return f"in namespaces with {selector}" if namespaces.items and (inside or not closed) else ""
