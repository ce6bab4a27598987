"""A scenario: what the student is told, what is set up and broken, and what proves that it is mended.

A file of ``kdiag/lab/scenarios/<group>/<name>.yaml`` is one scenario; docs/writing-labs.md describes its fields.
"""

from __future__ import annotations

import functools
import hashlib
import random
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import yaml

from kdiag.errors import LabError, UsageError
from kdiag.model.text import nearest

GROUPS = ("application", "control_plane", "worker_node", "network")
#: The domains of the CKA curriculum, with their weight in an exam.
DOMAINS: Mapping[str, tuple[str, int]] = {
    "troubleshooting": ("Troubleshooting", 30),
    "architecture": ("Cluster Architecture", 25),
    "services": ("Services & Networking", 20),
    "workloads": ("Workloads & Scheduling", 15),
    "storage": ("Storage", 10),
}
DIFFICULTIES = ("easy", "medium", "hard")

#: What a variation may draw from by name.
POOLS: Mapping[str, tuple[Any, ...]] = {
    "namespaces": (
        *("apollo", "borealis", "cobalt", "delta", "ember", "falcon", "garnet", "harbor", "indigo", "juniper"),
        *("kestrel", "lagoon", "meadow", "nimbus", "orchid", "pelican", "quartz", "raven", "sierra", "tundra"),
    ),
    "apps": ("api", "backend", "billing", "cart", "catalog", "checkout", "frontend", "orders", "portal", "reports"),
    "node_ports": tuple(range(30081, 30180, 3)),
    "passwords": ("paswrd", "s3cure", "db-pass-1", "tr1dent"),
}
_FIELDS = frozenset(
    {
        *("title", "task", "domain", "difficulty", "minutes", "vary", "namespace", "setup", "break", "proof", "hints"),
        *(
            "explain",
            "cause",
            "instead",
            "also",
            "fix",
            "risk",
            "needs",
            "takes",
            "api_dies",
            "proven",
        ),
    }
)
_NEEDS = frozenset({"nodes", "kubeadm", "worker", "workers"})


@dataclass(frozen=True, slots=True)
class Cause:
    """What kdiag must say first: a check and its object."""

    check: str
    object: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One scenario as it is written; ``resolve`` gives it names."""

    id: str
    title: str
    task: str
    domain: str
    difficulty: str
    minutes: int
    hints: tuple[str, str, str]
    explain: str
    #: What must be there: a root shell on the nodes, manifests as kubeadm writes them, one worker, two workers.
    needs: frozenset[str]
    #: Whether the API server is gone while it lasts.
    api_dies: bool
    #: Whether it is a risk for the next rollout instead of something broken now.
    risk: bool
    #: Whether the real lab has shown it, so that every CI run may.
    proven: bool
    _raw: Mapping[str, Any]

    @property
    def group(self) -> str:
        """Where in the cluster it is."""
        return self.id.partition("/")[0]

    @property
    def code(self) -> str:
        """A short name that gives nothing away."""
        short = {"application": "app", "control_plane": "cp", "worker_node": "node", "network": "net"}[self.group]
        return f"{short}-{hashlib.sha256(self.id.encode()).hexdigest()[:4]}"

    @property
    def expected(self) -> str:
        """The check that it is there to prove, by its id."""
        return str(self._raw["cause"]["check"])

    def resolve(self, seed: int, given: Mapping[str, Any], taken: Sequence[Mapping[str, Any]] = ()) -> Drawn:
        """The scenario with the names that this seed draws; ``given`` are the cluster's, ``taken`` other scenarios'.

        The same seed draws the same names on the same cluster. What another scenario uses already is not drawn.
        """
        dice = random.Random(f"{self.id}#{seed}")  # noqa: S311  a variation, no secret
        values: dict[str, Any] = dict(given)
        vary = {"ns": "namespaces", **(self._raw.get("vary") or {})}
        for name, pool in vary.items():
            choices = list(POOLS[pool] if isinstance(pool, str) else pool)
            used = {t.get(name) for t in taken} if name in ("ns", "node_port") else set()
            values[name] = _filled(dice.choice([c for c in choices if c not in used] or choices), values, self.id)
        return Drawn(self, seed, values)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A scenario with names: everything that is asked of it has its values filled in."""

    scenario: Scenario
    seed: int
    values: Mapping[str, Any]

    def _part(self, name: str, default: Any) -> Any:
        return _filled(self.scenario._raw.get(name, default), self.values, self.scenario.id)

    @property
    def task(self) -> str:
        """What the student is told."""
        return str(_filled(self.scenario.task, self.values, self.scenario.id)).strip()

    @property
    def explain(self) -> str:
        """What was broken, and the way out."""
        return str(_filled(self.scenario.explain, self.values, self.scenario.id)).strip()

    @property
    def hints(self) -> tuple[str, ...]:
        """From a nudge to the place."""
        return tuple(str(_filled(h, self.values, self.scenario.id)).strip() for h in self.scenario.hints)

    @property
    def namespace(self) -> Mapping[str, Any]:
        """Labels of the scenario's own namespace."""
        return dict(self._part("namespace", {}))

    @property
    def setup(self) -> list[dict[str, Any]]:
        """What is there before anything is broken."""
        return list(self._part("setup", []))

    @property
    def breaks(self) -> list[dict[str, Any]]:
        """How it is broken, step by step."""
        return list(self._part("break", []))

    @property
    def fix(self) -> list[dict[str, Any]]:
        """How it is mended, beyond taking back what was changed: for what was made broken from the start."""
        return list(self._part("fix", []))

    @property
    def proof(self) -> list[dict[str, Any]]:
        """What a user sees when it is mended."""
        return list(self._part("proof", []))

    def causes(self) -> list[Cause]:
        """What kdiag must name first, and what would be as right."""
        found = [self._part("cause", {}), *self._part("instead", [])]
        first = found[0].get("object")
        return [Cause(str(c["check"]), str(c.get("object") or first)) for c in found]

    def also(self) -> list[Cause]:
        """Further causes that stand beside the first: the second fault of a night with two."""
        return [Cause(str(c["check"]), str(c["object"])) for c in self._part("also", [])]

    @property
    def takes(self) -> frozenset[str]:
        """What no other scenario of the same exam may touch: nodes, parts of the cluster."""
        found = set(map(str, self._part("takes", [])))
        for step in self.breaks:
            if step.get("node"):
                found.add(f"node:{step['node']}")
                if self.scenario.group == "control_plane":
                    found.add("cluster")
        if self.scenario.api_dies:
            found.add("cluster")
        return frozenset(found)


class _Names(string.Template):
    """``$name`` and ``${name}``; ``$$`` is a dollar."""

    idpattern = "[a-z][a-z0-9_]*"


def _filled(item: Any, values: Mapping[str, Any], where: str) -> Any:
    """The item with every ``$name`` in it replaced; a string that is one name alone keeps the value's type."""
    if isinstance(item, str):
        if item.startswith("$") and (item[1:] in values):
            return values[item[1:]]
        try:
            return _Names(item).substitute(values)
        except (KeyError, ValueError) as exc:
            raise LabError(f"{where}: {item!r} cannot be filled in: {exc}") from None
    if isinstance(item, Mapping):
        return {_filled(k, values, where): _filled(v, values, where) for k, v in item.items()}
    if isinstance(item, list | tuple):
        return [_filled(i, values, where) for i in item]
    return item


@functools.cache
def scenarios() -> Mapping[str, Scenario]:
    """Every scenario that is shipped, by its id."""
    found = {}
    for name, file in _walk(files("kdiag.lab") / "scenarios", ""):
        found[name] = parse(name, file.read_text(encoding="utf-8"))
    return dict(sorted(found.items(), key=lambda pair: (GROUPS.index(pair[1].group), pair[0])))


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield f"{prefix}{entry.name.removesuffix('.yaml')}", entry


def parse(name: str, text: str) -> Scenario:
    """Read one scenario. Raises LabError for a file that makes none, and says where."""
    try:
        raw = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  safe, and quick where it can
    except yaml.YAMLError as exc:
        raise LabError(f"{name}: no YAML: {exc}") from None

    def wrong(why: str) -> LabError:
        return LabError(f"{name}: {why}")

    if not isinstance(raw, dict):
        raise wrong("a scenario is a mapping")
    if unknown := sorted(set(raw) - _FIELDS):
        raise wrong(f"unknown field {unknown[0]!r}")
    missing = {"title", "task", "domain", "difficulty", "minutes", "break", "proof", "hints", "explain", "cause"} - set(
        raw
    )
    if missing:
        raise wrong(f"{sorted(missing)[0]!r} is missing")
    if name.partition("/")[0] not in GROUPS:
        raise wrong(f"the group is one of {', '.join(GROUPS)}")
    if raw["domain"] not in DOMAINS or raw["difficulty"] not in DIFFICULTIES:
        raise wrong(f"domain is one of {', '.join(DOMAINS)}, difficulty one of {', '.join(DIFFICULTIES)}")
    if not (isinstance(raw["hints"], list) and len(raw["hints"]) == 3):
        raise wrong("three hints, from a nudge to the place")
    if more := sorted(set(raw.get("needs") or ()) - _NEEDS):
        raise wrong(f"needs {more[0]!r} is not among {', '.join(sorted(_NEEDS))}")
    needs = set(raw.get("needs") or ())
    if any("node" in step for step in raw["break"]):
        needs.add("nodes")
    return Scenario(
        id=name,
        title=str(raw["title"]),
        task=str(raw["task"]),
        domain=str(raw["domain"]),
        difficulty=str(raw["difficulty"]),
        minutes=int(raw["minutes"]),
        hints=tuple(map(str, raw["hints"])),  # type: ignore[arg-type]  # three, as was just seen
        explain=str(raw["explain"]),
        needs=frozenset(needs),
        api_dies=bool(raw.get("api_dies")),
        risk=bool(raw.get("risk")),
        proven=bool(raw.get("proven", True)),
        _raw=raw,
    )


def find(word: str) -> Scenario:
    """The scenario of that id, name or code. Raises UsageError, with the nearest, when there is none."""
    everything = scenarios()
    plain = word.strip("/").replace("-", "_").lower()
    hits = [s for s in everything.values() if plain in (s.id, s.id.partition("/")[2]) or word.lower() == s.code]
    if len(hits) == 1:
        return hits[0]
    if hits:
        raise UsageError(f"{word!r} is the name of {len(hits)} scenarios: {', '.join(s.id for s in hits)}")
    names = [n for s in everything.values() for n in (s.id, s.id.partition("/")[2], s.code)]
    close = nearest(plain, names)
    raise UsageError(
        f"no scenario is called {word!r}{f'; did you mean {close!r}?' if close else '; see: kdiag lab list'}"
    )
