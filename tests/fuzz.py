"""Clusters that make no sense: recordings changed at random places, always the same ones for the same seed.

A change is a value of another type, one that is right in type and out of every range, a name with control characters,
ten thousand letters, a field gone or twice there. Answers of nodes are cut, repeated, filled with other numbers.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import random
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from kdiag.model.observation import Observation
from tests.foreign import Foreign
from tests.recording import cluster_observations

NASTY = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\u2066x\u200b\ufeff\x00\x7f\r\b[/b][link=http://x]\u2028\U000e0041"
LONG = "x" * 10_000
#: What may stand where a text is meant: also what is a text of another kind.
TEXTS = (
    *(
        "",
        " ",
        "-",
        ".",
        "..",
        "../../etc/passwd",
        "/",
        "//",
        "a/b/c",
        "a:b",
        ":",
        "@",
        "*",
        "[",
        "(",
        "\\",
        "%s",
        "{}",
    ),
    *(
        "null",
        "true",
        "0",
        "-1",
        "1e999",
        "nan",
        "Infinity",
        "0x10",
        "9" * 40,
        "½",
        "٣",
        "١٠",
        "²",
        "\ud800",
        "\n",
        "\t",
        "e\u0301",
    ),
    *(NASTY, LONG, "é" * 300, "-o yaml", "; rm -rf /", "$(id)", "`id`", "'", '"', "'\"'\"'", "$HOME"),
    *("1Ki", "-5Gi", "1e400", "9E", "0.0000001n", "1m", "100m", ".5", "5.", "1Ei1", "0"),
    *(
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "1970-01-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-22T09:30:00",
    ),
    *("2026-11-22T09:30:00+23:59", "2027-11-22T09:30:00Z", "2025-11-22T09:30:00Z", "2026-11-22T09:30:00.123456789Z"),
    *(
        "0.0.0.0",
        "::",
        "999.1.1.1",
        "10.0.0.0/33",
        "::/0",
        "fe80::1%eth0",
        "127.0.0.1:99999",
        "http://[::1",
        "http://[/",
    ),
    *("* * * * *", "@every 1s", "61 * * * *", "0 0 31 2 *", "*/0 * * * *", "1-0 * * * *", "TZ=x * * * * *"),
    *(
        "kube-system",
        "default",
        "Node",
        "Pod",
        "Deployment",
        "docker.io/library/x@sha256:",
        "x@y@z",
        ":tag",
        "a//b",
        "v1.99.9",
    ),
)
NUMBERS = (0, -1, 1, 2**31, -(2**31), 2**63 - 1, -(2**63), 2**64, 10**30, 65536, 1.5, 1e308, -0.0)
OTHERS: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [None],
    [[]],
    [{}],
    {"": None},
    {"a": {"b": {"c": []}}},
    ["x", 1, None],
    [NASTY],
    {NASTY: NASTY},
)


@cache
def recording(folder: Path) -> tuple[Observation, ...]:
    """A recorded cluster."""
    return tuple(dataclasses.replace(o, body=bytes(o.body)) for o in cluster_observations(folder))


@cache
def distribution(name: str) -> tuple[Observation, ...]:
    """A cluster of fixtures/distributions."""
    return tuple(Foreign(name).observations())


def junk(rng: random.Random, old: Any) -> Any:
    """Something in the place of a value: twice in three times of the same type."""
    if rng.random() < 0.34:
        return copy.deepcopy(rng.choice(OTHERS))
    if isinstance(old, bool):
        return not old
    if isinstance(old, int | float):
        return rng.choice(NUMBERS)
    if isinstance(old, str):
        if rng.random() < 0.3:
            return _bent(rng, old)
        return rng.choice(TEXTS)
    if isinstance(old, list):
        return rng.choice(([], old * 2, old[::-1], [*old, *old[:1]], old[:-1], [*old, None], old * 50))
    if isinstance(old, dict):
        kept = {k: v for k, v in old.items() if rng.random() < 0.5}
        return rng.choice(({}, kept, {**old, rng.choice(TEXTS): rng.choice(TEXTS)}, [old], {k: None for k in old}))
    return rng.choice(TEXTS)


def _bent(rng: random.Random, text: str) -> str:
    """A text with something put in, taken out, or said twice."""
    at = rng.randrange(len(text) + 1)
    return rng.choice(
        (text[:at], text[at:], text[:at] + rng.choice(TEXTS)[:200] + text[at:], text * 2, text.upper(), f" {text} ")
    )


def bend(rng: random.Random, item: Any) -> None:
    """Change one place of a document, however deep."""
    here = item
    for _ in range(40):
        if isinstance(here, dict) and here:
            key: Any = rng.choice(list(here))
        elif isinstance(here, list) and here:
            key = rng.randrange(len(here))
        else:
            return
        if isinstance(here[key], dict | list) and here[key] and rng.random() < 0.85:
            here = here[key]
            continue
        if rng.random() < 0.15:
            del here[key]
        elif isinstance(here, dict) and rng.random() < 0.05:
            here[rng.choice(TEXTS)] = here.pop(key)
        else:
            here[key] = junk(rng, here[key])
        return


def scrambled(rng: random.Random, text: str) -> str:
    """What a node says, with something else in some of its lines."""
    lines = text.split("\n")
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(lines))
        what = rng.randrange(8)
        if what == 0:
            lines[at] = rng.choice(TEXTS)
        elif what == 1:
            lines[at] = re.sub(r"\d+", lambda _: str(rng.choice(NUMBERS)), lines[at], count=rng.randrange(1, 4))
        elif what == 2:
            lines[at] = _bent(rng, lines[at])
        elif what == 3:
            del lines[at:]
            lines.append("")
        elif what == 4:
            lines[at:at] = lines[:200]
        elif what == 5:
            words = lines[at].split(" ")
            words[rng.randrange(len(words))] = rng.choice(TEXTS)
            lines[at] = " ".join(words)
        elif what == 6:
            lines = [line.replace("=", rng.choice(("", ": ", "==")), 1) for line in lines]
        else:
            lines[at] = LONG
    return "\n".join(lines)


def changed(seen: Sequence[Observation], rng: random.Random, keys: Sequence[str], places: int) -> list[Observation]:
    """The same run, where some of the answers under these keys are bent."""
    found = []
    for one in seen:
        found.append(_changed(one, rng, places) if one.key in keys and not one.error else one)
    return found


def _changed(one: Observation, rng: random.Random, places: int) -> Observation:
    body = bytes(one.body)
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        text = scrambled(rng, body.decode("utf-8", "replace"))
        return dataclasses.replace(one, body=text.encode("utf-8", "surrogatepass"))
    items = document.get("items")
    for _ in range(places):
        if items and rng.random() < 0.97:
            at = rng.randrange(len(items))
            if rng.random() < 0.02:
                items[at] = junk(rng, items[at])
            else:
                bend(rng, items[at])
        else:
            bend(rng, document)
            items = document.get("items")
            items = items if isinstance(items, list) else None
    return dataclasses.replace(one, body=json.dumps(document).encode())


def keys_of(seen: Sequence[Observation]) -> tuple[str, ...]:
    """What was asked, without the record of the run."""
    return tuple(sorted({o.key for o in seen if not o.error and o.body} - {"run"}))
