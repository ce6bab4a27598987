"""A workload asks the API server for what its service account may not do."""

from __future__ import annotations

from collections.abc import Iterator

from kdiag.check import (
    CLIENT_FAILS,
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
    present,
    shorten,
)
from kdiag.facts import ASKS_AGAIN, Access, Cluster, Complaint, Complaints, Topic

#: A refusal that a running workload met longer ago than this, or once, may be over: seconds.
_STILL = 300.0


@check(
    title="Service account may not do what its workload asks",
    severity=Severity.ERROR,
    layer=Layer.POD,
    explains=CLIENT_FAILS,
    tags=("access", "rbac"),
)
def api_access_forbidden(complaints: Complaints, cluster: Cluster, access: Access | None) -> Iterator[Finding | Gap]:
    """One finding for each workload, account and place: all that it lacks there is granted by one role."""
    found: dict[tuple[Ref, str, str], dict[tuple[str, str], list[Complaint]]] = {}
    for complaint in complaints.about(Topic.FORBIDDEN, system=True):
        names = complaint.said.names
        account = f"{names['namespace']}:{names['account']}"
        kind, slash, part = names["resource"].partition("/")
        group = names.get("group", "")
        full = f"{kind}{f'.{group}' if group else ''}{slash}{part}"
        if access and access.allows(account, names["verb"], names["resource"], group, names.get("where", "")):
            continue  # granted by now; or the API server had just started and did not know its roles yet
        place = found.setdefault((complaint.workload, account, names.get("where", "")), {})
        place.setdefault((names["verb"], full), []).append(complaint)
    for (workload, account, where), lacks in found.items():
        every = [c for items in lacks.values() for c in items]
        newest = max(every, key=lambda c: c.when.timestamp() if c.when else 0.0)
        failing = any(c.failing for c in every)
        still = _STILL if access else ASKS_AGAIN
        again = sum(c.count for c in every) > 1 and cluster.age(newest.when) <= still
        if access is None and not (again and failing):
            yield Gap("roles", f"not seen: whether {account} has by now what it lacked is not known")
            continue
        namespace, _, name = account.partition(":")
        what = [f"{verb} {resource}" for verb, resource in sorted(lacks)]
        verb, resource = next(iter(sorted(lacks)))
        kind, _, group = resource.partition("/")[0].partition(".")
        part = resource.partition("/")[1] + resource.partition("/")[2]
        near = access.near(account, verb, kind + part, group, where) if access else None
        user = f"--as=system:serviceaccount:{account}"
        yield Finding(
            workload,
            f"{workload} may not {listing(what)} {f'in namespace {where}' if where else 'at the cluster scope'}:"
            f" {_why(account, near, known=access is not None)}",
            evidence=(
                Evidence(
                    kubectl(*newest.command, namespace=newest.pod.namespace), shorten(newest.said.text.strip(), 260)
                ),
                Evidence(kubectl("auth", "can-i", verb, resource, user, *_scope(where)), "no"),
            ),
            next=tuple(_correct(near[1]) if near else _grant(namespace, name, where, tuple(sorted(lacks)))),
            touches=present(Ref("ServiceAccount", name, namespace), near[1] if near else None),
            key=f"{account} {where}",
            severity=Severity.ERROR if failing else Severity.WARNING,  # one that is ready lives with it
            since=newest.since,
            shared=Shared(
                Ref("ServiceAccount", name, namespace),
                f"Service account {namespace}/{name} may not {listing(what)}"
                f" {f'in namespace {where}' if where else 'at the cluster scope'}",
                "ask for it",
            ),
        )


def _why(account: str, near: tuple[str, Ref] | None, *, known: bool) -> str:
    path = account.replace(":", "/", 1)
    if near:
        return f"{near[0]}, not {path}" if " gives it to " in near[0] else f"{near[0]} (service account {path})"
    return f"{'no role gives that to' if known else 'it is refused to'} service account {path}"


def _correct(ref: Ref) -> Iterator[str]:
    """The command that shows what was meant to allow it, and the one that changes it; a roleRef cannot be changed."""
    yield kubectl("get", ref.kind.lower(), ref.name, "-o", "yaml", namespace=ref.namespace)
    yield kubectl("edit", ref.kind.lower(), ref.name, namespace=ref.namespace)


def _scope(where: str) -> tuple[str, ...]:
    return ("-n", where) if where else ("--all-namespaces",)


def _grant(namespace: str, name: str, where: str, lacks: tuple[tuple[str, str], ...]) -> Iterator[str]:
    """Each set of resources that needs the same verbs is one role; kubectl makes one rule for each call."""
    yield kubectl("get", "rolebindings,clusterrolebindings", "-A", "-o", "wide") + f" | grep -w {name}"
    verbs: dict[str, list[str]] = {}
    for verb, resource in lacks:
        verbs.setdefault(resource, []).append(verb)
    for number, (resource, needed) in enumerate(verbs.items()):
        role = f"{name}-reads" if number == 0 else f"{name}-reads-{number + 1}"
        kind = "role" if where else "clusterrole"
        words = (f"--verb={','.join(sorted(needed))}", f"--resource={resource}")
        made = kubectl("create", kind, role, *words, namespace=where)
        bound = kubectl(
            "create",
            f"{kind}binding",
            role,
            f"--{kind}={role}",
            f"--serviceaccount={namespace}:{name}",
            namespace=where,
        )
        yield f"{made} && {bound}"
        if number == 2:
            return
