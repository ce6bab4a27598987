"""What the last run of this kind found, kept so that a report can be sent when something changes and only then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kdiag.collect.settings import change, kept

_NAME = "last"
_KEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """One run: when it looked, its causes (fingerprint to message), and the checks that could not see.

    ``checks`` says whose a cause is. ``unsure`` are those of the causes that were not found again while their check
    could not see everything: they may be gone, and nobody may say so. ``worst`` is how bad a cause was with all that it
    explained, by name.
    """

    taken: str
    causes: Mapping[str, str]
    unknown: frozenset[str]
    checks: Mapping[str, str]
    unsure: frozenset[str] = frozenset()
    worst: Mapping[str, str] = field(default_factory=dict)


def load(environ: Mapping[str, str], key: str) -> Last | None:
    """The last run under this key; None when there was none, or when what was kept cannot be read."""
    found = kept(environ, _NAME).get(key)
    if not isinstance(found, dict):
        return None
    causes, unknown = found.get("causes"), found.get("unknown")
    if not isinstance(causes, dict) or not isinstance(unknown, list):
        return None
    checks, unsure, worst = found.get("checks"), found.get("unsure"), found.get("worst")
    return Last(
        taken=str(found.get("taken", "")),
        causes={str(k): str(v) for k, v in causes.items()},
        unknown=frozenset(map(str, unknown)),
        checks={str(k): str(v) for k, v in checks.items()} if isinstance(checks, dict) else {},
        unsure=frozenset(map(str, unsure)) if isinstance(unsure, list) else frozenset(),
        worst={str(k): str(v) for k, v in worst.items()} if isinstance(worst, dict) else {},
    )


def save(environ: Mapping[str, str], key: str, last: Last) -> None:
    """Keep this run in the place of the one before. Raises OSError when the folder cannot be written."""
    run = {
        "taken": last.taken,
        "causes": dict(last.causes),
        "checks": dict(last.checks),
        "unknown": sorted(last.unknown),
        "unsure": sorted(last.unsure),
        "worst": dict(last.worst),
    }

    def put(runs: Mapping[str, object]) -> Mapping[str, object]:
        others = [(k, v) for k, v in runs.items() if k != key]
        return dict([*others, (key, run)][-_KEPT:])

    change(environ, _NAME, put)
