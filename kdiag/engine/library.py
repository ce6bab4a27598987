"""Find the checks that are shipped in ``kdiag.checks``: one module, one check."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
from collections.abc import Collection, Iterable, Mapping

from kdiag.check import Check
from kdiag.errors import CheckDefinitionError, UsageError
from kdiag.model.text import listing, nearest

GROUPS = ("application", "control_plane", "worker_node", "network")


@functools.cache
def checks() -> Mapping[str, Check]:
    """Every check by its id. Raises CheckDefinitionError for a file without exactly one."""
    package = importlib.import_module("kdiag.checks")
    found: dict[str, Check] = {}
    for info in sorted(pkgutil.walk_packages(package.__path__, "kdiag.checks."), key=lambda i: i.name):
        if info.ispkg:
            continue
        here = [v for v in vars(importlib.import_module(info.name)).values() if isinstance(v, Check)]
        if len(here) != 1:
            raise CheckDefinitionError(f"{info.name}: one check a file, not {len(here)}")
        found[here[0].id] = here[0]
    return found


def choose(wanted: Collection[str], *, risks: bool = False) -> tuple[Check, ...]:
    """The checks of these ids, names, groups or tags; all but the risks when nothing is named.

    Raises UsageError for a word that names none, with the nearest that does.
    """
    library = checks()
    if not wanted:
        return tuple(c for c in library.values() if risks or not c.risk)
    chosen: dict[str, Check] = {}
    for word in wanted:
        name = plain(word)
        hits = [c for c in library.values() if name in (c.id, c.group, c.id.partition("/")[2], *c.tags)]
        if name in GROUPS:
            hits = [c for c in hits if risks or not c.risk]
        if not hits and name not in GROUPS:
            known = [*names(library), *GROUPS, *tags()]
            raise UsageError(f"no check, group or tag is called {word!r}{did_you_mean(name, known)}")
        chosen.update((c.id, c) for c in hits)
    return tuple(chosen[i] for i in sorted(chosen))


def find(word: str) -> Check:
    """The one check of that id or name. Raises UsageError, with the nearest, when there is none."""
    library = checks()
    found = identified(word, library)
    if found is None:
        raise UsageError(f"no check is called {word!r}{did_you_mean(plain(word), names(library))}")
    return library[found]


def identified(word: str, ids: Iterable[str]) -> str | None:
    """The one of the ids that is this word, or whose name is. Raises UsageError where several have that name."""
    hits = [check_id for check_id in ids if plain(word) in (check_id, check_id.partition("/")[2])]
    if len(hits) > 1:
        raise UsageError(f"{word!r} is the name of {len(hits)} checks: {listing(hits)}")
    return hits[0] if hits else None


def plain(word: str) -> str:
    """A word as it is written in an id, however somebody typed it."""
    return word.strip("/").replace("-", "_").lower()


def names(ids: Iterable[str]) -> list[str]:
    """What checks of these ids may be called: by the id, and by what stands behind its group."""
    return [name for check_id in ids for name in (check_id, check_id.partition("/")[2])]


def did_you_mean(word: str, names: Collection[str]) -> str:
    """What was probably meant, to be put behind an error: the nearest name, or those that have the word in them."""
    inside = [n for n in dict.fromkeys(names) if "/" not in n and re.search(rf"(?:^|_){re.escape(word)}", n)]
    if len(word) > 1 and len(inside) > 1:
        return f"; there are {listing(sorted(inside, key=lambda n: (not n.startswith(word), n)), 4)}"
    close = nearest(word, list(names))
    return f"; did you mean {close!r}?" if close else "; see: kdiag list"


def tags() -> Mapping[str, int]:
    """Every tag, with the number of checks that have it."""
    found: dict[str, int] = {}
    for c in checks().values():
        for tag in c.tags:
            found[tag] = found.get(tag, 0) + 1
    return dict(sorted(found.items()))
