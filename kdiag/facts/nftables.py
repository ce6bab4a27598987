"""Tables that somebody wrote with ``nft``: they filter beside those of iptables, which do not show them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from kdiag.facts.base import NodeCommand, NodeFollow
from kdiag.facts.firewall import Fate, Filter, Judgement, Packet, Rule, read_filter
from kdiag.facts.hosts import Answer, HostFact, answer
from kdiag.model.text import whole

#: What iptables, kube-proxy and Calico keep there themselves; iptables-save shows the first of them.
_OWN = re.compile(r"ip (?:filter|nat|mangle|raw|security)|\w+ (?:kube-|cali).*")
#: Families that see the IPv4 packets of a node.
_FAMILIES = ("ip", "inet")
_MOST = 6
#: Tables of iptables that see a packet before filter does.
_EARLIER = ("raw", "mangle")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
#: The hooks that a packet passes, by the chain of iptables that stands for them.
HOOKS = {"INPUT": ("prerouting", "input"), "OUTPUT": ("output",), "FORWARD": ("prerouting", "forward")}


@dataclass(frozen=True, slots=True, kw_only=True)
class NftTable:
    """One table: its chains, and of those that the kernel itself calls, hook and priority."""

    family: str
    name: str
    filter: Filter
    hooks: Mapping[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)  # chains by hook, in their order
    handles: Mapping[str, str] = field(default_factory=dict)  # by the text of a rule: chain and handle
    iptables: bool = False  # written by way of iptables, and shown by it
    read: bool = True  # not one of those beyond the first few, whose rules were not asked for

    def judge(self, chain: str, packet: Packet) -> Judgement | None:
        """Whether it certainly drops a packet: what one chain accepts, the next may drop, but not the other way."""
        every = (self._dropped(hook, packet) for hook in HOOKS[chain])
        return next((judged for judged in every if judged), None)

    def early(self, hook: str, packet: Packet) -> Judgement | None:
        """The same of what it does before addresses of Services become those of pods."""
        return self._dropped(hook, packet, before=_PRIORITIES["dstnat"])

    def _dropped(self, hook: str, packet: Packet, before: int | None = None) -> Judgement | None:
        for priority, base in self.hooks.get(hook, ()):
            if before is None or priority < before:
                judged = self.filter.judge(base, _at(hook, packet))
                if judged.fate is Fate.DROPPED:
                    return judged
        return None


def _at(hook: str, packet: Packet) -> Packet:
    """Before it is routed a packet has no interface to leave by."""
    return replace(packet, out="") if hook == "prerouting" else packet


_LIST_TABLES = NodeCommand("nft-tables", ("nft", "list", "tables"), sudo=True)


class NftNames(HostFact[frozenset[str]]):
    """Every table that the kernel has, by family and name: ``ip kube-proxy``."""

    sources = (_LIST_TABLES,)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> frozenset[str]:
        """``table ip kube-proxy``, one a line."""
        listed = answer(answers, "nft-tables")
        return frozenset(re.findall(r"^table (\w+ \S+)$", listed, re.MULTILINE))


class NftTables(HostFact[tuple[NftTable, ...]]):
    """The tables beside iptables' filter and nat, and kube-proxy's. Few nodes have one of which much is to be said."""

    sources = (
        _LIST_TABLES,
        NodeFollow("nft-table"),
        NodeFollow("iptables-beside"),
    )

    @staticmethod
    def follow(node: str, answers: tuple[Answer, ...]) -> Iterable[NodeCommand]:
        """The rules of each of them."""
        for family, name in _foreign(answer(answers, "nft-tables"))[:_MOST]:
            yield NodeCommand(
                "nft-table",
                ("nft", "-a", "list", "table", family, name),
                sudo=True,
                limit=1 << 20,
                name=f"{family} {name}",
            )
        # Only where it is there: iptables-save would make it.
        for name in _EARLIER:
            if re.search(rf"^table ip {name}$", answer(answers, "nft-tables"), re.MULTILINE):
                yield NodeCommand("iptables-beside", ("iptables-save", "-t", name), sudo=True, limit=1 << 20, name=name)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> tuple[NftTable, ...]:
        """``table inet guard { … }`` with ``-a``, one table an answer."""
        known = tuple(t for a in answers if a.key == "nft-table" and not a.error for t in _tables(a.text))
        listed = next((a.text for a in answers if a.key == "nft-tables"), "")
        left = _foreign(listed)[_MOST:]
        known += tuple(_beside(a) for a in answers if a.key == "iptables-beside" and not a.error)
        return known + tuple(NftTable(family=f, name=n, filter=Filter({}, {}), read=False) for f, n in left)


def _beside(one: Answer) -> NftTable:
    """A table of iptables other than filter: its chains have the names of the hooks."""
    table, priority = read_filter(one.text), _PRIORITIES.get(one.name, 0)
    hooks = {chain.lower(): ((priority, chain),) for chain in table.policies}
    return NftTable(family="ip", name=one.name, filter=table, hooks=hooks, iptables=True)


def _foreign(text: str) -> list[tuple[str, str]]:
    found = []
    for line in text.splitlines():
        match line.split():
            case ["table", family, name] if family in _FAMILIES and _NAME.fullmatch(name):
                if not _OWN.fullmatch(f"{family} {name}"):
                    found.append((family, name))
    return found


_HEAD = re.compile(r"table (\S+) (\S+) \{")
_CHAIN = re.compile(r"chain (\S+) \{")
_BASE = re.compile(r"type \S+ hook (\w+) .*?priority ([^;]+);(?: policy (\w+);)?")
_PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
_HANDLE = re.compile(r" # handle (\d+)$")
#: They change from one look to the next.
_COUNTED = re.compile(r"(?<=counter) packets \d+ bytes \d+")


def _tables(text: str) -> Iterator[NftTable]:
    table: tuple[str, str] | None = None
    chain, skipped = "", 0
    chains: dict[str, list[Rule]] = {}
    policies: dict[str, str] = {}
    hooks: dict[str, list[tuple[int, str]]] = {}
    handles: dict[str, str] = {}
    for raw in text.splitlines():
        handle = _HANDLE.search(raw.rstrip())
        line = _COUNTED.sub("", _HANDLE.sub("", raw.rstrip()).strip())
        if skipped:  # a set, a map or what else is no chain
            skipped += line.count("{") - line.count("}")
        elif head := _HEAD.match(line):
            table = (head[1], head[2])
        elif table and not chain and (begun := _CHAIN.match(line)):
            chain = begun[1]
            chains[chain] = []
        elif line == "}":
            if not chain and table:
                yield _table(table, chains, policies, hooks, handles)
                table, chains, policies, hooks, handles = None, {}, {}, {}, {}
            chain = ""
        elif not chain:
            skipped = line.count("{") - line.count("}")
        elif base := _BASE.match(line):
            hooks.setdefault(base[1], []).append((_priority(base[2]), chain))
            policies[chain] = "DROP" if base[3] == "drop" else "ACCEPT"
        elif line:
            rule = _rule(line)
            chains[chain].append(rule)
            if handle:
                handles.setdefault(rule.text, f"{chain} handle {handle[1]}")


def _table(
    table: tuple[str, str],
    chains: Mapping[str, list[Rule]],
    policies: Mapping[str, str],
    hooks: Mapping[str, list[tuple[int, str]]],
    handles: Mapping[str, str],
) -> NftTable:
    return NftTable(
        family=table[0],
        name=table[1],
        filter=Filter({name: tuple(rules) for name, rules in chains.items()}, dict(policies)),
        hooks={hook: tuple(sorted(found)) for hook, found in hooks.items()},
        handles=dict(handles),
    )


def _priority(text: str) -> int:
    words = text.split()
    named = _PRIORITIES.get(words[0])
    if named is None:
        return _signed("".join(words))
    return named + _signed("".join(words[1:]))


def _signed(text: str) -> int:
    number = whole(text.lstrip("+-"))
    return -(number or 0) if text.startswith("-") else number or 0


#: What matches nothing and decides nothing, with the words that belong to it.
_BESIDE = re.compile(
    r'\bcounter(?! name)|\bcounter name "?[\w-]+"?|\bcomment "[^"]*"|\bmeta nftrace set \d'
    r'|\blog(?: (?:prefix "[^"]*"|level \w+|group \d+|flags [\w ,]+?))*(?= |$)'
)
_END = re.compile(
    r"(?:^| )(?:(?P<jump>jump|goto) (?P<to>\S+)|(?P<end>accept|drop|return|continue|reject)(?: with .*)?"
    r"|(?P<other>queue.*))$"
)
_WORD = re.compile(
    r"(?P<key>ip saddr|ip daddr|ip protocol|meta l4proto|(?:tcp|udp|th) [sd]port|ct stat(?:e|us)"
    r"|(?:meta )?[io]if(?:name)?|fib daddr type)"
    r" (?P<not>!= )?(?P<value>\{[^}]*\}|\"[^\"]*\"|[^\s{]\S*(?:, ?\S+)*)(?: |$)"
)
_VMAP = re.compile(r"ct state vmap \{([^}]*)\}")
_OPTIONS = {
    "ip saddr": "-s",
    "ip daddr": "-d",
    "ip protocol": "-p",
    "meta l4proto": "-p",
    "ct state": "--ctstate",
    "fib daddr type": "--dst-type",
    "ct status": "--ctstatus",
}
#: What is about other packets than those of TCP and UDP over IPv4.
_OTHERS = re.compile(r"\bip6 |\bmeta nfproto ipv6|\b(?:icmp|icmpv6|igmp|sctp|dccp) (?:type|code|[sd]port)\b")
_VERDICTS = {"accept": "ACCEPT", "drop": "DROP", "reject": "REJECT", "return": "RETURN", "continue": ""}


def _rule(text: str) -> Rule:
    """A rule in the words of iptables. What is not understood is a match that may fit."""
    line = " ".join(_BESIDE.sub("", text).split())
    if states := _VMAP.search(line):
        line = " ".join(_VMAP.sub("", line).split())
        pairs = (part.partition(":") for part in states[1].split(","))
        end = next((verdict.strip() for state, _, verdict in pairs if state.strip() == "new"), "")
        if end not in _VERDICTS and end:
            return Rule(text, ((end, False, ""),), "QUEUE")
        return Rule(text, tuple(_matches(line)), _VERDICTS.get(end, ""))
    ended = _END.search(line)
    if ended is None:
        return Rule(text, tuple(_matches(line)), "")
    rest = line[: ended.start()].strip()
    target = ended["to"] if ended["jump"] else _VERDICTS.get(ended["end"] or "", "QUEUE")
    return Rule(text, tuple(_matches(rest)), target, goto=ended["jump"] == "goto")


def _matches(line: str) -> Iterator[tuple[str, bool, str]]:
    line = line.replace("meta nfproto ipv4", "").strip()
    if _OTHERS.search(line):
        yield ("-p", False, "another")
        return
    at = 0
    while at < len(line):
        found = _WORD.match(line, at)
        if found is None:
            yield ("nft", False, line[at:])
            return
        at = found.end()
        key, values = found["key"], _values(found["value"])
        negated = bool(found["not"])
        proto, _, port = key.partition(" ")
        if port in ("dport", "sport"):
            if proto != "th":
                yield ("-p", False, proto)
            yield (f"--{port}", negated, ",".join(v.replace("-", ":") for v in values))
        elif "iif" in key or "oif" in key:
            option = "-i" if "iif" in key else "-o"
            yield (option, negated, ",".join(re.sub(r"\*$", "+", v) for v in values))
        elif key in ("ip protocol", "meta l4proto"):
            yield (_OPTIONS[key], negated, ",".join(values))
        elif key.startswith(("ct ", "fib ")):
            yield (_OPTIONS[key], negated, ",".join(values).upper())
        else:
            plain = all(re.fullmatch(r"[\d.]+(?:/\d+)?", v) for v in values)
            yield (_OPTIONS[key], negated, ",".join(values)) if plain else ("nft", False, key)


def _values(text: str) -> list[str]:
    return [part.strip().strip('"') for part in text.strip("{}").split(",") if part.strip()] or [""]
