"""What the last run of this kind found, kept so that a report can be sent when something changes and only then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kdiag.collect.settings import keep, kept

_NAME = "last"
_KEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """One run: when it looked, its causes (fingerprint to message), and the checks that could not see."""

    taken: str
    causes: Mapping[str, str]
    unknown: frozenset[str]


def load(environ: Mapping[str, str], key: str) -> Last | None:
    """The last run under this key; None when there was none, or when what was kept cannot be read."""
    found = kept(environ, _NAME).get(key)
    if not isinstance(found, dict):
        return None
    causes, unknown = found.get("causes"), found.get("unknown")
    if not isinstance(causes, dict) or not isinstance(unknown, list):
        return None
    return Last(
        taken=str(found.get("taken", "")),
        causes={str(k): str(v) for k, v in causes.items()},
        unknown=frozenset(map(str, unknown)),
    )


def save(environ: Mapping[str, str], key: str, last: Last) -> None:
    """Keep this run in the place of the one before. Raises OSError when the folder cannot be written."""
    runs = {k: v for k, v in kept(environ, _NAME).items() if k != key}
    runs[key] = {"taken": last.taken, "causes": dict(last.causes), "unknown": sorted(last.unknown)}
    keep(environ, _NAME, dict(list(runs.items())[-_KEPT:]))
