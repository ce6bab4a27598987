"""Draw the scenarios of an exam: weighted as the curriculum is, and so that none is in another's way."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kdiag.errors import LabError
from kdiag.lab.scenario import DOMAINS, Drawn, Scenario, scenarios


def draw(
    count: int,
    seed: int,
    values: Callable[[int], Mapping[str, Any]],
    fits: Callable[[Scenario], bool],
    *,
    group: str = "",
) -> list[tuple[Scenario, int]]:
    """``count`` scenarios with the seed of each; the same seed draws the same. Raises LabError when there are too few.

    Only what the real lab has shown is drawn. ``values`` gives the cluster's own names for a seed, as the start of the
    session will.
    """
    dice = random.Random(f"exam#{seed}")  # noqa: S311  a draw, no secret
    rest = [s for s in scenarios().values() if s.proven and fits(s) and not s.risk and (not group or s.group == group)]
    drawn: list[Drawn] = []
    while len(drawn) < count and rest:
        scenario = _weighted(rest, dice)
        rest.remove(scenario)
        one = scenario.resolve(seed, values(seed + len(drawn)), [d.values for d in drawn])
        if all(not collide(one, other) for other in drawn):
            drawn.append(one)
    if len(drawn) < count:
        raise LabError(f"only {len(drawn)} scenarios can stand side by side on this cluster")
    return [(d.scenario, seed) for d in drawn]


def _weighted(rest: Sequence[Scenario], dice: random.Random) -> Scenario:
    """First a domain by its weight in the exam, then one of its scenarios."""
    domains = sorted({s.domain for s in rest})
    domain = dice.choices(domains, [DOMAINS[d][1] for d in domains])[0]
    return dice.choice([s for s in rest if s.domain == domain])


def collide(one: Drawn, other: Drawn) -> bool:
    """Whether two scenarios would change the same node, or the same part of the cluster."""
    return bool(one.takes & other.takes)
