"""Clusters that make no sense cost what reads them, and nothing else: no check breaks, and all that is said is plain.

A run takes some seeds, always the same; ``KDIAG_FUZZ=2000`` takes so many.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from kdiag.engine.intake import Facts, roots
from kdiag.engine.library import checks
from kdiag.engine.trace import Start, trace
from kdiag.engine.verdict import Verdict, judge
from kdiag.facts import Cluster, Logs, Schedule, ScheduleError, Services, parse_schedule
from kdiag.model.observation import Observation
from kdiag.model.result import Status
from kdiag.model.text import whole
from kdiag.report.document import render_json, render_yaml
from kdiag.report.incident import render_html, render_incident
from kdiag.report.node import names, picture, render_node, render_node_json
from kdiag.report.steps import render_steps
from kdiag.report.style import Style
from kdiag.report.text import render
from tests.foreign import Foreign, distributions
from tests.fuzz import changed, distribution, keys_of, recording
from tests.recording import clusters, facts_of
from tests.whole import Whole, tree

ROUNDS = int(os.environ.get("KDIAG_FUZZ", "48"))
SOURCES = (*distributions(), *clusters("demo"), *clusters("healthy"), *clusters("broken"))


def base(rng: random.Random) -> Sequence[Observation]:
    one = rng.choice(SOURCES)
    return distribution(one) if isinstance(one, str) else recording(one)


def judged(facts: Facts) -> Verdict:
    return judge(list(checks().values()), facts, checks())


def reports(found: Verdict, facts: Facts, rng: random.Random) -> Iterator[str]:
    """Everything that can be printed of a run."""
    yield render(found, Style(width=rng.choice((20, 80, 200))), wide=True)
    yield render_yaml(found)
    yield render_incident(found)
    yield render_html(found)
    for text in (render_json(found), *(render_node_json(picture(facts, found, n)) for n in names(facts)[:1])):
        json.loads(text)
        yield text
    for name in names(facts)[:2]:
        yield render_node(picture(facts, found, name), Style(), wide=True)
    services = facts.get(Services)
    for service in rng.sample(services.items, min(3, len(services.items))) if services else ():
        start = Start(kind="Service", name=service.name, namespace=service.namespace)
        yield render_steps(trace(start, facts), Style(), wide=True)


def assert_plain(text: str) -> None:
    bad = {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Co")}
    assert not bad, sorted(map(hex, map(ord, bad)))


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_cluster_that_makes_no_sense_breaks_nothing(seed: int) -> None:
    rng = random.Random(seed)
    whole_ = base(rng)
    keys = keys_of(whole_)
    chosen = rng.sample(keys, min(len(keys), rng.choice((1, 2, 6, 30))))
    facts = facts_of(changed(whole_, rng, chosen, rng.choice((1, 5, 40))))
    found = judged(facts)
    assert [(r.check_id, r.reason) for r in found.of(Status.ERROR)] == []
    for text in reports(found, facts, rng):
        assert_plain(text)


@pytest.mark.parametrize("seed", range(0, ROUNDS, 4))
def test_what_does_not_read_it_says_what_it_said_before(seed: int) -> None:
    rng = random.Random(f"alone {seed}")
    whole_ = base(rng)
    (key,) = rng.sample(keys_of(whole_), 1)
    before, after = (judged(facts_of(iter(seen))) for seen in (whole_, changed(whole_, rng, [key], 20)))
    readers = {
        c.id for c in checks().values() for r in roots([*c.needs.values(), *c.wants.values()])
        if key in {s.key for s in r.sources}
    }  # fmt: skip
    told = {r.check_id: r for r in before.results}
    assert [r.check_id for r in after.results if r != told[r.check_id] and r.check_id not in readers] == []


# -- what was found in this way


def test_a_day_that_is_not_in_its_month_is_no_time_of_a_line() -> None:
    seen = Observation("api", "log", name="shop/web/app/current", body=b"2026-02-30T09:00:00Z out of range\n")
    logs = facts_of([seen]).get(Logs)
    assert logs is not None
    (line,) = logs.items[0].lines
    assert (line.text, line.when) == ("2026-02-30T09:00:00Z out of range", None)


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_what_began_before_or_after_all_times_has_nothing_before_it(when: str) -> None:
    cluster = Whole()
    (pod,) = cluster.application("team/web")
    cluster.waiting(pod, "CrashLoopBackOff", restarts=9, code=1)
    for condition in pod["status"]["conditions"]:
        condition["lastTransitionTime"] = when
    pod["status"]["containerStatuses"][0]["lastState"]["terminated"].update(startedAt=when, finishedAt=when)
    pod["metadata"]["creationTimestamp"] = pod["status"]["startTime"] = when
    cluster.settle()
    found = cluster.verdict()
    assert found.causes, tree(found.causes)
    assert not found.of(Status.ERROR)


def test_a_schedule_ends_where_the_calendar_ends() -> None:
    last = datetime(9999, 12, 31, 23, 59, 30, tzinfo=UTC)
    assert parse_schedule("* * * * *").next(last) is None
    assert Schedule(every=timedelta(days=9)).next(last) is None
    with pytest.raises(ScheduleError):
        parse_schedule(f"@every {'9' * 30}h")


def test_a_daemon_set_without_a_container_has_none_that_is_misconfigured() -> None:
    eks = Foreign("eks")
    eks.get("daemonsets", "kube-proxy", "kube-system")["spec"]["template"]["spec"]["containers"] = []
    for pod in eks.of("DaemonSet", "kube-system/kube-proxy"):
        pod["spec"]["containers"] = []
    assert not eks.verdict().of(Status.ERROR)


@pytest.mark.parametrize("text", ["", "-1", "²", "٣", "1" * 19, "9" * 5000, "1e3", " 1", "0x1"])
def test_what_is_no_number_of_anything_is_none(text: str) -> None:
    assert whole(text) is None


def test_a_number_is_one() -> None:
    assert (whole("0"), whole("8080"), whole("9" * 18)) == (0, 8080, 10**18 - 1)


@pytest.mark.parametrize("taken", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00", "1970-01-01T00:00:00Z"])
def test_a_run_at_the_end_of_time_is_judged(taken: str) -> None:
    seen = [
        dataclasses.replace(o, body=json.dumps({**json.loads(bytes(o.body)), "taken": taken}).encode())
        if o.key == "run"
        else o
        for o in distribution("k3s")
    ]
    facts = facts_of(seen)
    assert facts.get(Cluster) is not None
    assert [(r.check_id, r.reason) for r in judged(facts).of(Status.ERROR)] == []
