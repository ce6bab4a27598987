"""Who we are to an API server and what we may read there: asked with the self reviews, which store nothing."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kdiag import __version__
from kdiag.collect.deadline import Deadline
from kdiag.collect.http import Client, Response
from kdiag.collect.kubeconfig import Target
from kdiag.errors import CollectError
from kdiag.facts.base import ApiGet, ApiList, PodLog, Source
from kdiag.model.jsontext import read_object
from kdiag.model.step import State, Step
from kdiag.model.text import clean_line, listing, plural, shorten

_WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_MAY = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
_SKEW = 2.0


def examine(
    target: Target,
    sources: Iterable[Source],
    *,
    deadline: Deadline,
    namespace: str = "",
    blinded: Mapping[str, Sequence[str]],
) -> Iterator[Step]:
    """Each thing that a run needs, in the order in which it needs it; what cannot be reached ends it.

    ``blinded`` names, for the key of each source, the checks that are unknown without it.
    """
    yield Step(state=State.OK, title="kdiag", detail=f"{__version__}, Python {platform.python_version()}")
    yield Step(
        state=State.OK,
        title="configuration",
        detail="the pod's service account" if target.in_cluster else target.origin,
        command="kubectl config view --minify",
    )
    named = [f"context {target.context}" if target.context else "", f"user {target.user}" if target.user else ""]
    yield Step(
        state=State.OK,
        title="context",
        detail=", ".join([*filter(None, named), f"namespace {target.namespace}", f"by {target.credentials.method}"]),
        command="kubectl config current-context",
    )
    with Client(target, deadline=deadline) as client:
        try:
            answer = client.get("/version", timeout=15)
        except CollectError as exc:
            yield Step(state=State.BROKEN, title="server", detail=str(exc), command="kubectl get --raw /version")
            return
        yield _server(target, answer)
        yield from _clock(answer)
        who = _identity(client, target)
        yield who
        if who.state is State.BROKEN:
            return
        yield from _rights(client, sources, namespace, blinded, target)


def _server(target: Target, answer: Response) -> Step:
    version = _json(answer).get("gitVersion")
    tls = "TLS, certificate checked" if target.tls and not target.insecure else ""
    if target.tls and target.insecure:
        tls = "TLS, certificate NOT checked"
    if not target.tls:
        tls = "no TLS"
    told = clean_line(version) if isinstance(version, str) else f"/version answered {answer.status}"
    return Step(
        state=State.OK if isinstance(version, str) or answer.status in (401, 403) else State.BROKEN,
        title="server",
        detail=f"{target.server} answers: {shorten(told, 60)}, {tls}",
        command="kubectl version",
    )


def _clock(answer: Response) -> Iterator[Step]:
    if answer.date is None:
        return
    skew = (datetime.now(UTC) - answer.date).total_seconds()
    # The Date header has whole seconds.
    near = -_SKEW <= skew <= _SKEW + 1
    direction = "ahead of" if skew > 0 else "behind"
    yield Step(
        state=State.OK if near else State.UNKNOWN,
        title="clock",
        detail="as the server's" if near else f"{abs(skew):,.0f} s {direction} the server's; ages are by the server's",
        blocks=False,
    )


def _identity(client: Client, target: Target) -> Step:
    kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    command = "kubectl auth whoami"
    try:
        answer = client.post_review(_WHO, kind, timeout=15)
    except CollectError as exc:
        return Step(state=State.BROKEN, title="login", detail=str(exc), command=command)
    info = _path(_json(answer), "status", "userInfo")
    name = info.get("username")
    if answer.status in (200, 201) and isinstance(name, str):
        groups = info.get("groups")
        shown = [clean_line(str(g)) for g in groups] if isinstance(groups, list) else []
        if name == "system:anonymous":
            detail = "the server takes us for nobody (system:anonymous): no credential was sent, or none that it knows"
            return Step(state=State.BROKEN, title="login", detail=detail, command=command)
        acting = f", impersonated by user {target.user}" if target.impersonate else ""
        detail = f"as {clean_line(name)}{acting} (groups {listing(shown, 4) or 'none'})"
        return Step(state=State.OK, title="login", detail=detail, command=command)
    match answer.status:
        case 401 | 403 if target.credentials.method == "none" and not target.impersonate:
            detail = (
                f"user {target.user or '(none)'} of the configuration sends no credential, and the server wants one"
            )
            return Step(state=State.BROKEN, title="login", detail=detail, command=command)
        case 401:
            how = target.credentials.method
            end = target.credentials.expired(answer.date or datetime.now(UTC))
            why = f"it has expired on {end:%Y-%m-%d}" if end else "it has expired, or is of another cluster"
            detail = f"the server does not accept the {how} (401): {why}"
            return Step(state=State.BROKEN, title="login", detail=detail, command=command)
        case 403 if target.impersonate:
            detail = f"user {target.user} may not impersonate (403): {_message(answer)}"
            return Step(state=State.BROKEN, title="login", detail=detail, command=command)
        case 404 | 403 | 405:
            # Older than 1.28, or the review is not for everybody here.
            detail = f"by {target.credentials.method}; the server does not say as whom ({answer.status})"
            return Step(state=State.UNKNOWN, title="login", detail=detail, command=command, blocks=False)
    detail = f"asking who we are failed: {answer.status} {_message(answer)}"
    return Step(state=State.UNKNOWN, title="login", detail=detail, command=command)


def _rights(
    client: Client, sources: Iterable[Source], namespace: str, blinded: Mapping[str, Sequence[str]], target: Target
) -> Iterator[Step]:
    wanted = [s for s in sources if isinstance(s, ApiList | ApiGet | PodLog)]
    try:
        if not namespace and not _may(client, next(s for s in wanted if s.key == "pods"), ""):
            yield Step(
                state=State.UNKNOWN,
                title="namespaces",
                detail=f"may not list pods in all namespaces: only namespace {target.namespace} would be read",
                command="kubectl auth can-i list pods -A",
            )
            namespace = target.namespace
        rules = _Rules(client, namespace) if namespace else None
        denied = [s for s in wanted if not _allowed(client, s, namespace, rules)]
    except CollectError as exc:
        yield Step(state=State.UNKNOWN, title="rights", detail=str(exc), command="kubectl auth can-i --list")
        return
    where = f"in namespace {namespace}" if namespace else "in all namespaces"
    if not denied:
        yield Step(
            state=State.OK,
            title="rights",
            detail=f"all {plural(len(wanted), 'thing')} that the checks read can be read {where}",
            command="kubectl auth can-i --list",
        )
        return
    yield Step(
        state=State.UNKNOWN,
        title="rights",
        detail=f"{len(wanted) - len(denied)} of {len(wanted)} things that the checks read can be read {where}",
        command="kubectl auth can-i --list",
    )
    for source in sorted(denied, key=lambda s: (-len(blinded.get(s.key, ())), s.key)):
        checks = blinded.get(source.key, ())
        first = f" ({listing(sorted(checks), 2)})" if checks else ""
        lost = f"{plural(len(checks), 'check is', 'checks are')} unknown without it{first}"
        yield Step(
            state=State.UNKNOWN,
            title=f"may not {_verb(source)}",
            detail=lost,
            command=_command(source, namespace),
            level=1,
            blocks=bool(checks),
        )


class _Rules:
    """What the rules of one namespace say; that they may be incomplete is why a no is asked again."""

    def __init__(self, client: Client, namespace: str) -> None:
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        answer = client.post_review(_RULES, body, timeout=15)
        rules = _path(_json(answer), "status").get("resourceRules")
        self._rules = [r for r in rules if isinstance(r, dict)] if isinstance(rules, list) else []

    def allow(self, verb: str, group: str, resource: str) -> bool:
        """Whether a rule without resource names gives it."""
        return any(
            not rule.get("resourceNames")
            and _holds(rule.get("verbs"), verb)
            and _holds(rule.get("apiGroups"), group)
            and _holds(rule.get("resources"), resource)
            for rule in self._rules
        )


def _holds(values: Any, wanted: str) -> bool:
    return isinstance(values, list) and ("*" in values or wanted in values)


def _allowed(client: Client, source: Source, namespace: str, rules: _Rules | None) -> bool:
    if isinstance(source, ApiList) and source.namespaces:
        return all(_may(client, source, inside) for inside in source.namespaces)
    if rules and isinstance(source, ApiList) and source.namespaced:
        return rules.allow("list", source.group, source.resource) or _may(client, source, namespace)
    return _may(client, source, namespace)


def _may(client: Client, source: Source, namespace: str) -> bool:
    """Whether the server says that we may. Raises CollectError when it does not say."""
    attributes: dict[str, Any]
    if isinstance(source, ApiGet):
        attributes = {"nonResourceAttributes": {"verb": "get", "path": source.url.partition("?")[0]}}
    elif isinstance(source, ApiList):
        inside = namespace if source.namespaced else ""
        attributes = {
            "resourceAttributes": {
                "verb": "list",
                "group": source.group,
                "resource": source.resource,
                **({"namespace": inside} if inside else {}),
            }
        }
    else:
        attributes = {
            "resourceAttributes": {
                "verb": "get",
                "group": "",
                "resource": "pods",
                "subresource": "log",
                **({"namespace": namespace} if namespace else {}),
            }
        }
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": attributes}
    answer = client.post_review(_MAY, body, timeout=15)
    allowed = _path(_json(answer), "status").get("allowed")
    if not isinstance(allowed, bool):
        raise CollectError(f"the server does not say what may be read: {answer.status} {_message(answer)}")
    return allowed


def _verb(source: Source) -> str:
    if isinstance(source, ApiGet):
        return f"get {source.url.partition('?')[0]}"
    if isinstance(source, ApiList):
        place = f" in namespace {listing(source.namespaces)}" if source.namespaces else ""
        return f"list {source.resource}{f'.{source.group}' if source.group else ''}{place}"
    return "get pods/log"


def _command(source: Source, namespace: str) -> str:
    if isinstance(source, ApiGet):
        return f"kubectl auth can-i get {source.url.partition('?')[0]}"
    if isinstance(source, ApiList):
        inside = source.namespaces[0] if source.namespaces else namespace if source.namespaced else ""
        place = f" -n {inside}" if inside else " -A" if source.namespaced else ""
        return f"kubectl auth can-i list {source.resource}{f'.{source.group}' if source.group else ''}{place}"
    return f"kubectl auth can-i get pods --subresource=log{f' -n {namespace}' if namespace else ' -A'}"


def _json(answer: Response) -> dict[str, Any]:
    return read_object(bytes(answer.body[: 4 << 20]))


def _path(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    for key in keys:
        inner = document.get(key)
        document = inner if isinstance(inner, dict) else {}
    return document


def _message(answer: Response) -> str:
    message = _json(answer).get("message")
    return shorten(clean_line(message), 160) if isinstance(message, str) else ""
