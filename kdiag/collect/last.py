"""What the last run of this kind found, kept so that a report can be sent when something changes and only then."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kdiag.collect.settings import state_folder

_KEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """One run: when it looked, its causes (fingerprint to message), and the checks that could not see."""

    taken: str
    causes: Mapping[str, str]
    unknown: frozenset[str]


def load(environ: Mapping[str, str], key: str) -> Last | None:
    """The last run under this key; None when there was none, or when what was kept cannot be read."""
    found = _read(_path(environ)).get(key)
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
    path = _path(environ)
    runs = {k: v for k, v in _read(path).items() if k != key}
    runs[key] = {"taken": last.taken, "causes": dict(last.causes), "unknown": sorted(last.unknown)}
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_suffix(f".{os.getpid()}.part")
    partial.write_text(json.dumps(dict(list(runs.items())[-_KEPT:]), indent=1))
    partial.chmod(0o600)
    partial.replace(path)


def _path(environ: Mapping[str, str]) -> Path:
    return state_folder(environ) / "last.json"


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
