"""The report for a ticket: what a cluster says is never taken for Markdown or HTML."""

from __future__ import annotations

from kdiag.engine.correlate import Node
from kdiag.engine.library import checks
from kdiag.engine.verdict import Verdict
from kdiag.model.result import Evidence, Finding, Ref, Result, Status
from kdiag.report.incident import render_html, render_incident

EVIL = "<script>x</script> [a](javascript:b) **c** `d` ```e``` # f ![g](h) \x1b[31m"


def verdict() -> Verdict:
    check = checks()["network/service_selects_nothing"]
    finding = Finding(
        Ref("Service", "db", "shop"), EVIL, (Evidence("kubectl get svc", EVIL), Evidence("", EVIL, "w1")), (EVIL,)
    )
    return Verdict(
        server=EVIL, context="c", namespace="shop", version=EVIL, taken="2026-11-22T11:00:00Z", source="api",
        causes=(Node(check, finding, [Node(check, finding)]),), notes=(EVIL,),
        results=(Result(check.id, Status.FAIL, (finding,)), Result("a/b", Status.PASS)),
    )  # fmt: skip


def test_html_holds_no_tag_link_or_picture_of_the_clusters_making() -> None:
    page = render_html(verdict())
    assert "<script" not in page
    assert "<a " not in page
    assert "<img" not in page
    assert "<strong>" not in page
    assert "\x1b" not in page
    assert "default-src 'none'" in page
    assert "<h2>1. ERROR" in page


def test_markdown_names_the_cause_its_evidence_and_the_coverage() -> None:
    text = render_incident(verdict())
    assert "\x1b" not in text
    assert "## 1. ERROR: " in text
    assert "$ kubectl get svc" in text
    assert "w1$" not in text.split("$ kubectl get svc")[0]
    assert "Explains 1 finding:" in text
    assert "2 checks: 1 pass, 1 fail" in text
