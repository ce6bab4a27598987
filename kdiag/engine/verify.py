"""Whether a finding is gone: only what was seen whole, and is well, is cleared."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from kdiag.check import Check
from kdiag.engine.correlate import Node
from kdiag.engine.evaluate import evaluate
from kdiag.engine.intake import Facts, needed
from kdiag.engine.library import checks
from kdiag.engine.wanted import Wanted, meant
from kdiag.facts.cluster import Cluster
from kdiag.facts.hosts import HostFact
from kdiag.model.result import Finding, Ref, Result, Severity, Status


class State(enum.Enum):
    """What one look came to. UNSEEN is never to be read as cleared."""

    CLEARED = "cleared"
    THERE = "there"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a finding. ``finding`` is what is still there, ``reason`` why nothing could be said."""

    state: State
    finding: Finding | None = None
    reason: str = ""


def doubt(check: Check, facts: Facts, wanted: Wanted) -> str:
    """What to say where no object of that name is among what the check reads: it may be well, and it may not be."""
    if wanted.kind == "Node" and wanted.name in facts.nodes:
        return ""
    lists = (getattr(facts.get(kind), "items", ()) for kind in (*needed([check]), Cluster))
    there = any(
        (getattr(item, "name", ""), getattr(item, "namespace", "")) == (wanted.name, wanted.namespace)
        for items in lists
        for item in (items if isinstance(items, tuple | list) else ())
    )
    return "" if there else f"nothing that {check.id} reads is called {wanted}: is it spelt right?"


def look(check: Check, facts: Facts, wanted: Wanted | None) -> Look:
    """What the check says of that object now; of any object, where none is named."""
    result = evaluate(check, facts)
    finding = meant(result.findings, wanted)
    if finding is not None:
        return Look(state=State.THERE, finding=finding)
    if reason := unseen(check, facts, result):
        return Look(state=State.UNSEEN, reason=reason)
    return Look(state=State.CLEARED, reason=f"the check does not apply: {result.reason}" if result.reason else "")


def unseen(check: Check, facts: Facts, result: Result) -> str:
    """Why a check that found nothing (about the object) says nothing all the same; "" where it is well."""
    if result.status is Status.ERROR:
        return f"the check broke: {result.reason}"
    if result.status is Status.UNKNOWN or result.gaps:
        return "; ".join(map(str, result.gaps[:3])) or "it could not see what it needs"
    if result.status is Status.SKIPPED:
        # What does not apply is gone; what was only not asked is not.
        cluster = facts.get(Cluster)
        elsewhere = bool(check.namespaces and cluster and cluster.namespace not in ("", *check.namespaces))
        if elsewhere or (not facts.nodes and any(issubclass(fact, HostFact) for fact in needed([check]))):
            return result.reason
    return ""


def fingerprints(facts: Facts, refs: Collection[Ref]) -> dict[str, Node]:
    """The findings about these objects that the facts at hand show, of every check that can see what it needs."""
    return {node.fingerprint: node for node in _nodes(facts, frozenset(refs))}


def _nodes(facts: Facts, refs: frozenset[Ref]) -> Iterator[Node]:
    for check in checks().values():
        if check.risk or check.severity is Severity.INFO or any(fact not in facts for fact in needed([check])):
            continue
        for finding in evaluate(check, facts).findings:
            if refs & {finding.subject, *finding.touches}:
                yield Node(check, finding)


def successors(before: Collection[str], facts: Facts, finding: Finding) -> list[Node]:
    """What is wrong with the objects of a finding that cleared, and was not before: it took its place."""
    found = fingerprints(facts, (finding.subject, *finding.touches))
    return sorted((n for f, n in found.items() if f not in before), key=lambda n: (-n.severity, n.check.id))
