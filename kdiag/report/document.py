"""The verdict as a document for programs. The schema is ``kdiag/data/report.schema.json``; it only ever grows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from kdiag import __version__
from kdiag.engine.changes import Change
from kdiag.engine.correlate import Node
from kdiag.engine.verdict import Verdict
from kdiag.model.result import Ref, Status
from kdiag.model.text import plural

SCHEMA = "kdiag/report/v1"


def document(verdict: Verdict) -> dict[str, Any]:
    """The report as plain values, causes in rank order."""
    return {
        "schema": SCHEMA,
        "kdiag": __version__,
        "cluster": {
            "context": verdict.context,
            "server": verdict.server,
            "version": verdict.version,
            "namespace": verdict.namespace,
        },
        "taken": verdict.taken,
        "complete": verdict.complete,
        "notes": [*verdict.notes, *_chosen(verdict)],
        "causes": [cause_document(cause, [c for _, c in verdict.changed(cause)]) for cause in verdict.causes],
        "infos": [cause_document(info) for info in verdict.infos],
        "coverage": {
            "passed": verdict.count(Status.PASS),
            "failed": verdict.count(Status.FAIL),
            "unknown": [
                {"check": r.check_id, "reason": "; ".join(map(str, r.gaps))} for r in verdict.of(Status.UNKNOWN)
            ],
            "partial": [
                {"check": r.check_id, "reason": "; ".join(map(str, r.gaps))} for r in verdict.of(Status.FAIL) if r.gaps
            ],
            "skipped": [{"check": r.check_id, "reason": r.reason} for r in verdict.of(Status.SKIPPED)],
            "errors": [{"check": r.check_id, "reason": r.reason} for r in verdict.of(Status.ERROR)],
        },
    }


def _chosen(verdict: Verdict) -> list[str]:
    """What a choice by labels leaves out."""
    if not verdict.selector:
        return []
    left = plural(verdict.outside, "cause")
    missing = "" if verdict.selected else "; nothing that was read has these labels"
    return [f"only what has the labels {verdict.selector}: {left} of other objects left out{missing}"]


def cause_document(node: Node, changed: Sequence[Change] = ()) -> dict[str, Any]:
    """One cause with its symptoms and what changed before it, as plain values."""
    finding = node.finding
    found: dict[str, Any] = {
        "check": node.check.id,
        "severity": node.severity.name.lower(),
        "object": _object(finding.subject),
        "message": finding.message,
        "evidence": [{"command": e.command, "shown": e.shown, "source": e.source} for e in finding.evidence],
        "next": list(finding.next),
        "runbook": f"{node.check.id}.md",
        "fingerprint": node.fingerprint,
        "symptoms": [cause_document(s) for s in node.symptoms],
    }
    if finding.since:
        found["since"] = finding.since
    if changed:
        found["changed"] = [
            {
                "when": change.when.isoformat().replace("+00:00", "Z"),
                "object": _object(change.object),
                "what": change.what,
                "who": change.who,
                "command": change.command,
            }
            for change in changed
        ]
    return found


def _object(ref: Ref) -> dict[str, str]:
    return {"kind": ref.kind, "namespace": ref.namespace, "name": ref.name}


def render_json(verdict: Verdict) -> str:
    """The document as JSON; every character that is not ASCII is escaped, so it is safe on any terminal."""
    return json.dumps(document(verdict), indent=2, ensure_ascii=True) + "\n"


def render_yaml(verdict: Verdict) -> str:
    """The document as YAML."""
    import yaml

    return str(yaml.safe_dump(document(verdict), sort_keys=False, width=110, allow_unicode=False))
