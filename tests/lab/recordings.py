"""Recordings of practice scenarios, one compressed file each: what kdiag saw while it was broken.

``python -m tests.lab.recordings FILE FOLDER`` unfolds one, so that ``kdiag check --snapshot FOLDER`` can read it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from kdiag.collect.snapshot import write
from kdiag.engine.library import checks
from kdiag.engine.verdict import judge
from kdiag.lab.scenario import Drawn, scenarios
from kdiag.model.observation import Observation
from kdiag.model.result import Severity
from tests.recording import FIXTURES, facts_of, squeeze, squeezed

FOLDER = FIXTURES / "scenarios"


def pack(seen: Iterable[Observation], one: Drawn, path: Path) -> None:
    """Keep a recording as one file, with the names that the scenario had; of the nodes those it touches, if they do."""
    every = list(seen)
    touched = {step["node"] for step in one.breaks if "node" in step}
    few = [o for o in every if o.source != "node" or o.host in touched]
    kept = few if misjudged(one, few) is None else every
    squeeze(kept, path, scenario=one.scenario.id, seed=one.seed, values=dict(one.values))


def misjudged(one: Drawn, seen: Iterable[Observation]) -> str | None:
    """What is wrong with the verdict: None when the cause is first and nothing wrong stands beside it."""
    chosen = [c for c in checks().values() if one.scenario.risk or not c.risk]
    verdict = judge(chosen, facts_of(iter(seen)), checks())
    right = {(c.check, c.object) for c in (*one.causes(), *one.also())}
    named = [(c.check.id, f"{c.finding.subject.kind}/{c.finding.subject.path}") for c in verdict.causes]
    grave = [
        name for name, c in zip(named, verdict.causes, strict=True) if c.worst >= Severity.ERROR or one.scenario.risk
    ]
    if one.scenario.risk:
        return None if right & set(grave) else f"not among {grave}"
    if not named or named[0] not in right:
        return f"first is {named[:1]}"
    if wrong := set(grave) - right:
        return f"beside it: {sorted(wrong)}"
    missed = {c.object for c in one.also()} - {where for _, where in named}
    return f"not named: {sorted(missed)}" if missed else None


def unpack(path: Path) -> tuple[Drawn, list[Observation]]:
    """The scenario with its names, and what was seen."""
    whole, seen = squeezed(path)
    return Drawn(scenarios()[whole["scenario"]], whole["seed"], whole["values"]), seen


def recordings() -> Iterator[Path]:
    """Every recording of a scenario that still is one."""
    for path in sorted(FOLDER.glob("*/*.json.xz")):
        if f"{path.parent.name}/{path.name.removesuffix('.json.xz')}" in scenarios():
            yield path


if __name__ == "__main__":
    write(Path(sys.argv[2]), iter(unpack(Path(sys.argv[1]))[1]))
