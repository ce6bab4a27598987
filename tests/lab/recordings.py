"""Recordings of practice scenarios, one compressed file each: what kdiag saw while it was broken.

``python -m tests.lab.recordings FILE FOLDER`` unfolds one, so that ``kdiag check --snapshot FOLDER`` can read it.
"""

from __future__ import annotations

import json
import lzma
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kdiag.collect.snapshot import Snapshot, write
from kdiag.lab.scenario import Drawn, scenarios
from kdiag.model.observation import Observation
from tests.recording import FIXTURES

FOLDER = FIXTURES / "scenarios"


def pack(snapshot: Path, one: Drawn, path: Path) -> None:
    """Keep a recording as one file, with the names that the scenario had."""
    seen = [
        {
            **{k: getattr(o, k) for k in ("source", "key", "host", "scope", "name", "error") if getattr(o, k)},
            **({"absent": True} if o.absent else {}),
            "body": bytes(o.body).decode("utf-8", "surrogateescape"),
        }
        for o in Snapshot(snapshot).observations()
    ]
    whole = {"scenario": one.scenario.id, "seed": one.seed, "values": dict(one.values), "observations": seen}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(json.dumps(whole).encode("utf-8"), preset=9))


def unpack(path: Path) -> tuple[Drawn, list[Observation]]:
    """The scenario with its names, and what was seen."""
    whole: Mapping[str, Any] = json.loads(lzma.decompress(path.read_bytes()))
    drawn = Drawn(scenarios()[whole["scenario"]], whole["seed"], whole["values"])
    return drawn, [
        Observation(**{**o, "body": o["body"].encode("utf-8", "surrogateescape")}) for o in whole["observations"]
    ]


def recordings() -> Iterator[Path]:
    """Every recording of a scenario that still is one."""
    for path in sorted(FOLDER.glob("*/*.json.xz")):
        if f"{path.parent.name}/{path.name.removesuffix('.json.xz')}" in scenarios():
            yield path


if __name__ == "__main__":
    write(Path(sys.argv[2]), iter(unpack(Path(sys.argv[1]))[1]))
