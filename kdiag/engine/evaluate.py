"""Run one check over the facts. Whatever a check does, its result is a result and no other check's is lost."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from kdiag.check import Check, Skip
from kdiag.engine.intake import Facts, roots
from kdiag.facts.base import Fact
from kdiag.facts.cluster import Cluster
from kdiag.facts.configuration import Namespaces
from kdiag.facts.hosts import HostFact
from kdiag.model.result import Finding, Gap, Result, Status, cleaned
from kdiag.model.text import clean_line, shorten


def evaluate(check: Check, facts: Facts) -> Result:
    """What the check comes to: see Status."""
    cluster = facts.get(Cluster)
    if check.namespaces and isinstance(cluster, Cluster) and cluster.namespace not in ("", *check.namespaces):
        return Result(
            check.id,
            Status.SKIPPED,
            reason=f"reads namespace {check.namespaces[0]}; only {cluster.namespace} was asked for",
        )
    if not facts.nodes and any(issubclass(root, HostFact) for root in roots(check.needs.values())):
        return Result(check.id, Status.SKIPPED, reason="no node was asked: see kdiag check --help, node access")
    try:
        asked, gaps, missing = _asked(check, facts)
    except Exception as exc:  # a fact that is made of others may break as a check may, and costs those that read it
        return Result(check.id, Status.ERROR, reason=_words_of(exc))
    if missing or any(map(facts.blank, check.needs.values())):
        return Result(check.id, Status.UNKNOWN, gaps=(*missing, *gaps))
    findings: list[Finding] = []
    skipped = ""
    try:
        for item in check.run(**asked):
            if isinstance(item, Finding):
                findings.append(cleaned(item, check.severity))
            elif isinstance(item, Gap):
                gaps[item] = None
            else:
                skipped = clean_line(item.reason) if isinstance(item, Skip) else f"yielded {item!r}"
    except Exception as exc:  # the one place where a check may break: it becomes a result of its own
        return Result(check.id, Status.ERROR, tuple(findings), tuple(gaps), reason=_words_of(exc))
    known = facts.get(Namespaces) if findings and not check.holds_deletion else None
    if known:
        findings = [f for f in findings if f.subject.namespace not in known.going]
    if findings:
        return Result(check.id, Status.FAIL, tuple(findings), tuple(gaps))
    if gaps:
        return Result(check.id, Status.UNKNOWN, gaps=tuple(gaps))
    return Result(check.id, Status.SKIPPED, reason=skipped) if skipped else Result(check.id, Status.PASS)


def _asked(check: Check, facts: Facts) -> tuple[dict[str, Fact | None], dict[Gap, None], dict[Gap, None]]:
    """The facts that it reads, their gaps, and what it needs and nobody asked for."""
    asked: dict[str, Fact | None] = {}
    gaps: dict[Gap, None] = {}
    missing: dict[Gap, None] = {}
    for param, kind in check.needs.items():
        fact = facts.get(kind)
        if fact is None:
            names = facts.missing(kind) or (kind.__name__,)
            missing.update((Gap(_words(name), "nothing was asked that tells of it"), None) for name in names)
        else:
            asked[param] = fact
            gaps.update(dict.fromkeys(fact.gaps))
    if not missing and not any(map(facts.blank, check.needs.values())):
        asked |= {param: None if facts.blank(kind) else facts.get(kind) for param, kind in check.wants.items()}
    return asked, gaps, missing


def evaluate_all(checks: Sequence[Check], facts: Facts, late: Callable[[], str] = str) -> list[Result]:
    """Every check's result, in the order of the checks.

    The lowest layer is judged first, for there the causes are. As soon as ``late`` gives a reason why no further check
    can be made, those that are left are unknown for that reason.
    """
    found: dict[str, Result] = {}
    reason = ""
    for check in sorted(checks, key=lambda c: c.layer):
        reason = reason or late()
        found[check.id] = (
            Result(check.id, Status.UNKNOWN, gaps=(Gap("judging", reason),)) if reason else evaluate(check, facts)
        )
    return [found[check.id] for check in checks]


def _words(name: str) -> str:
    """The name of a fact as a person would say it: ``EtcdAnswers`` are etcd answers."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _words_of(exc: Exception) -> str:
    return shorten(clean_line(f"{type(exc).__name__}: {exc}{_where(exc)}"), 300)


def _where(exc: BaseException) -> str:
    trace = exc.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f" (line {trace.tb_lineno})" if trace else ""
