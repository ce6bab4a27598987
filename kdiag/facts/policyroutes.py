"""Rules by which a node chooses between its routing tables, and where they lead a packet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from kdiag.facts.base import NodeCommand, NodeFollow
from kdiag.facts.hostnet import Route, read_routes, route_to
from kdiag.facts.hosts import Answer, HostFact, answer
from kdiag.model.text import whole

REJECTS = ("blackhole", "unreachable", "prohibit")
_ALL = IPv4Network("0.0.0.0/0")
_USUAL = ("local", "main", "default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: whose packets it takes, and to which table, or how it rejects them.

    ``narrow``: it asks for more than addresses (a mark, an interface, a port), so that most packets are not its own.
    """

    preference: int
    text: str
    source: IPv4Network = _ALL
    target: IPv4Network = _ALL
    table: str = ""
    rejects: str = ""
    narrow: bool = False
    longer_than: int = -1  # routes of no longer prefix do not count

    def takes(self, source: IPv4Address, target: IPv4Address) -> bool:
        """Whether a packet between these two that bears no mark is its own."""
        return not self.narrow and source in self.source and target in self.target


@dataclass(frozen=True, slots=True)
class Way:
    """What becomes of a packet: the rule that decides, and the route in its table (None: the rule rejects it)."""

    rule: Rule
    route: Route | None

    @property
    def rejected(self) -> str:
        """How it is rejected; empty where it is sent on."""
        return self.rule.rejects or (self.route.kind if self.route and self.route.kind in REJECTS else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of one node, in their order, and the tables that they name."""

    rules: tuple[Rule, ...] = ()
    tables: Mapping[str, tuple[Route, ...]] | None = None  # None: not read

    @property
    def own(self) -> bool:
        """Whether there are more rules than the kernel's three."""
        return any(r.table not in _USUAL or r.preference not in (0, 32766, 32767) for r in self.rules)

    def way(self, source: IPv4Address, target: IPv4Address) -> Way | None:
        """What becomes of a packet; None where that cannot be told."""
        for rule in self.rules:
            if not rule.takes(source, target):
                continue
            if rule.rejects:
                return Way(rule, None)
            if not rule.table or self.tables is None:
                return None  # it goes on elsewhere
            routes = [r for r in self.tables.get(rule.table, ()) if r.network.prefixlen > rule.longer_than]
            found = route_to(routes, target)
            if found is not None and found.kind != "throw":
                return Way(rule, found)
        return None


class PolicyRoutes(HostFact[Policy]):
    """``ip rule``; the tables only where there are rules that the kernel has not made."""

    sources = (
        NodeCommand("route-rules", ("ip", "-4", "rule", "show"), limit=1 << 20),
        NodeFollow("route-tables"),
    )

    @staticmethod
    def follow(node: str, answers: tuple[Answer, ...]) -> Iterable[NodeCommand]:
        """All tables, where somebody has made rules."""
        if Policy(rules=tuple(_rules(answer(answers, "route-rules")))).own:
            yield NodeCommand("route-tables", ("ip", "-4", "route", "show", "table", "all"), limit=4 << 20)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> Policy:
        """``90: from all to 10.89.0.11 prohibit``; in the tables, ``default via 10.0.0.1 dev eth0 table 77``."""
        tables: dict[str, list[str]] = {}
        for line in answer(answers, "route-tables").splitlines():
            named = re.search(r" table (\S+)", line)
            tables.setdefault(named[1] if named else "main", []).append(line.replace(named[0], "") if named else line)
        return Policy(
            rules=tuple(_rules(answer(answers, "route-rules"))),
            tables={name: read_routes("\n".join(lines)) for name, lines in tables.items()} or None,
        )


def _rules(text: str) -> Iterator[Rule]:
    for line in text.splitlines():
        match = re.match(r"(\d{1,10}):\s+(.*?)\s*$", line)
        preference = whole(match[1]) if match else None
        if match is not None and preference is not None:
            shown = re.sub(r"^from all (?=to )", "", match[2])
            yield _read(Rule(preference=preference, text=shown), match[2].split())


def _read(rule: Rule, words: list[str]) -> Rule:
    left = iter(words)
    for word in left:
        try:
            match word:
                case "from":
                    rule = replace(rule, source=_network(next(left, "")))
                case "to":
                    rule = replace(rule, target=_network(next(left, "")))
                case "lookup" | "table":
                    rule = replace(rule, table=next(left, ""))
                case "suppress_prefixlength":
                    rule = replace(rule, longer_than=int(next(left, "")))
                case "proto" | "protocol" | "realms" | "goto":
                    next(left, "")
                case _ if word in REJECTS:
                    rule = replace(rule, rejects=word)
                case _:
                    rule = replace(rule, narrow=True)
        except ValueError:
            rule = replace(rule, narrow=True)
    return rule


def _network(text: str) -> IPv4Network:
    return _ALL if text == "all" else IPv4Network(text, strict=False)
