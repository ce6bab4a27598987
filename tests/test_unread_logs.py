"""A log that nobody could read is not called empty."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from kdiag.engine.evaluate import evaluate
from kdiag.engine.library import checks
from kdiag.model.observation import Observation
from tests.recording import FIXTURES, facts_of, load, observations

REFUSED = "500: cannot read the log: dial tcp 10.89.0.13:10250: connect: connection refused"


def unread(o: Observation) -> Observation:
    return dataclasses.replace(o, body=b"", error=REFUSED)


def empty(o: Observation) -> Observation:
    return dataclasses.replace(o, body=b"")


@pytest.mark.parametrize(
    ("change", "said"), [(unread, f"the log was not read: {REFUSED}"), (empty, "the log is empty")]
)
def test_a_crash_tells_whether_there_was_no_word_or_nobody_could_read_it(
    change: Callable[[Observation], Observation], said: str
) -> None:
    check = checks()["application/container_crashes"]
    seen = observations(load(FIXTURES / "application" / "container_crashes" / "broken.yaml"))
    less = [change(o) if o.key == "log" and o.name else o for o in seen]
    (finding,) = evaluate(check, facts_of(iter(less))).findings
    assert said in [e.shown for e in finding.evidence]
