"""Fixtures of the check library, as observations.

A fixture is a YAML file: the time at which it was taken, the objects of each kind under the key of their list (what is
not named was seen and is empty), other answers under their keys, logs by container, and what the check must say.

    taken: 2026-11-22T09:30:00Z
    expect:
      - "Service shop/mysql selects no pod: ..."
    services: [...]
    pods: [...]
    readyz: |
      [+]ping ok
    log:
      shop/web-1/app/previous: |
        2026-11-22T09:29:00Z panic: no database
    errors:
      events: "403 Forbidden: may not list events"
    api: dead               # no list and no document of the API was to be had
    server: https://lab:6443    # where the client's kubeconfig leads
    dead: "lab:6443: connection refused"
    refused_user: kubernetes-admin      # who may not list pods, and in which groups that user is
    refused_groups: ["kubeadm:cluster-admins", "system:authenticated"]
    hosts:                  # what the nodes themselves said; KEY or KEY/NAME
      cp1:
        units: |
          Id=kubelet.service
      w2: {error: "10.0.0.13:22: connection refused"}
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from kdiag.check import Check
from kdiag.collect.snapshot import Snapshot
from kdiag.engine.intake import Facts, Intake, known, sources
from kdiag.engine.library import checks
from kdiag.facts.base import ApiGet, ApiList, Fact
from kdiag.facts.hosts import UNREADABLE
from kdiag.model.observation import Observation

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT / "fixtures"
#: A recorded cluster that is kept as one file, for it is large.
SQUEEZED = "recording.json.xz"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HEALTHY = {
    "version": json.dumps({"major": "1", "minor": "36", "gitVersion": "v1.36.3"}),
    "readyz": "[+]ping ok\n[+]etcd ok\nreadyz check passed\n",
}


@cache
def all_facts() -> tuple[type[Fact], ...]:
    """Every fact that comes from observations."""
    checks()
    return known()


@cache
def load(path: Path) -> dict[str, Any]:
    """One fixture file."""
    content = yaml.load(path.read_text(), Loader=_LOADER)
    assert isinstance(content, dict), path
    return content


def cases(check: Check, kind: str) -> list[Path]:
    """The fixture files of a check whose names begin with ``broken`` or ``healthy``."""
    return sorted((FIXTURES / check.id).glob(f"{kind}*.yaml"))


def observations(fixture: dict[str, Any]) -> list[Observation]:
    """What a run would have seen."""
    found: list[Observation] = []
    errors = fixture.get("errors", {})
    taken = fixture["taken"]
    stamp = taken.isoformat() if isinstance(taken, datetime) else str(taken)
    if isinstance(taken, datetime) and taken.tzinfo is None:
        stamp += "+00:00"
    run: dict[str, Any] = {
        "taken": stamp,
        "server": fixture.get("server", "https://lab:6443"),
        "context": "lab",
        "namespace": fixture.get("namespace", ""),
    }
    run["skew"] = fixture.get("skew", 0.0)
    dead = fixture.get("api") == "dead"
    if dead:
        run["dead"] = fixture.get("dead", "10.89.0.11:6443: connection refused")
    run |= {key: fixture[key] for key in ("refused_user", "refused_groups") if key in fixture}
    found.append(Observation("api", "run", body=json.dumps(run).encode()))
    for source in sources(all_facts()):
        if isinstance(source, ApiList | ApiGet) and dead:
            found.append(Observation("api", source.key, error="10.89.0.11:6443: connection refused"))
        elif source.key in errors:
            found.append(Observation("api", source.key, error=errors[source.key]))
        elif isinstance(source, ApiList):
            items = json.dumps({"items": fixture.get(source.key, [])}, default=str).encode()
            found.append(Observation("api", source.key, scope=fixture.get("namespace", ""), body=items))
        elif isinstance(source, ApiGet):
            text = fixture.get(source.key, _HEALTHY.get(source.key, ""))
            found.append(Observation("api", source.key, body=text.encode()))
    found.append(Observation("api", "log", absent=True))
    found += node_observations(fixture)
    for name, text in fixture.get("log", {}).items():
        found.append(Observation("api", "log", name=name, body=text.encode()))
    return found


def node_observations(fixture: dict[str, Any]) -> list[Observation]:
    """What the nodes of a fixture said."""
    found: list[Observation] = []
    for host, answers in fixture.get("hosts", {}).items():
        if "error" in answers:
            found.append(Observation("node", UNREADABLE, host, error=answers["error"]))
            continue
        for where, text in answers.items():
            key, _, name = where.partition("/")
            if isinstance(text, dict):
                # A file that is not there is knowledge; a part of an answer may have come all the same.
                body, absent = str(text.get("text", "")).encode(), bool(text.get("absent"))
                found.append(Observation("node", key, host, name=name, body=body, error=text["error"], absent=absent))
            else:
                found.append(Observation("node", key, host, name=name, body=text.encode()))
    return found


def facts_of(seen: list[Observation] | Iterator[Observation]) -> Facts:
    """The facts made of observations."""
    intake = Intake(all_facts())
    for one in seen:
        intake.feed(one)
    return intake.finish()


@cache
def fixture_facts(path: Path) -> Facts:
    """The facts of one fixture file."""
    return facts_of(observations(load(path)))


@cache
def clusters(kind: str) -> tuple[Path, ...]:
    """The recorded whole clusters whose names begin with ``healthy``, ``broken`` …"""
    found = (
        p.parent for form in ("kdiag-snapshot.json", SQUEEZED) for p in (FIXTURES / "clusters").glob(f"{kind}*/{form}")
    )
    return tuple(sorted(found))


def cluster_observations(folder: Path) -> Iterator[Observation]:
    """What was seen of a recorded whole cluster."""
    small = folder / SQUEEZED
    return iter(squeezed(small)[1]) if small.exists() else Snapshot(folder).observations()


@cache
def cluster_facts(folder: Path) -> Facts:
    """The facts of a recorded whole cluster."""
    return facts_of(cluster_observations(folder))


def squeeze(seen: Iterable[Observation], path: Path, **more: Any) -> None:
    """Keep observations as one compressed file, with what else is to be known of them."""
    rows = [
        {
            **{k: getattr(o, k) for k in ("source", "key", "host", "scope", "name", "error") if getattr(o, k)},
            **({"absent": True} if o.absent else {}),
            "body": bytes(o.body).decode("utf-8", "surrogateescape"),
        }
        for o in seen
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = json.dumps({**more, "observations": rows}).encode("utf-8")
    path.write_bytes(lzma.compress(whole, preset=9 | lzma.PRESET_EXTREME))


def squeezed(path: Path) -> tuple[Mapping[str, Any], list[Observation]]:
    """What a compressed file says besides its observations, and those."""
    whole: dict[str, Any] = json.loads(lzma.decompress(path.read_bytes()))
    rows = whole.pop("observations")
    return whole, [Observation(**{**o, "body": o["body"].encode("utf-8", "surrogateescape")}) for o in rows]


def every_check() -> list[Check]:
    """The library."""
    return list(checks().values())
