"""The packet filter of a node: whether a packet gets through, and what kube-proxy has written for Services."""

from __future__ import annotations

import enum
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network

from kdiag.facts.base import NodeCommand
from kdiag.facts.hosts import Answer, HostFact, answer
from kdiag.model.text import whole

_DEPTH = 12
_STEPS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """The first packet of a connection, as far as it is known; an empty field may be anything."""

    protocol: str = "tcp"
    source: str = ""
    destination: str = ""
    port: int = 0
    into: str = ""  # interface that it comes in by
    out: str = ""  # interface that it leaves by
    local: bool = False  # whether it is for the node itself
    among: str = ""  # the network of which source or destination is one of many: a rule for one address may fit


class Fate(enum.Enum):
    """What certainly becomes of a packet."""

    ACCEPTED = "accepted"
    DROPPED = "dropped"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The fate of a packet, and the rule or policy that decided."""

    fate: Fate
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its matches, in groups of words, and where a packet goes that they all fit."""

    text: str
    matches: tuple[tuple[str, bool, str], ...]  # option, negated, value
    target: str
    goto: bool = False


@dataclass(frozen=True)
class Filter:
    """The filter table. ``policies`` are those of the built-in chains; ``legacy`` says that there is another one."""

    chains: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    policies: Mapping[str, str] = field(default_factory=dict)
    legacy: bool = False

    def judge(self, chain: str, packet: Packet) -> Judgement:
        """Follow a packet through a built-in chain. Only what is certain is said: a rule that may fit ends in doubt."""
        steps = [0]
        found = self._walk(chain, packet, steps, 0)
        if found is not None:
            return found
        policy = self.policies.get(chain, "ACCEPT")
        if policy == "DROP":
            return Judgement(Fate.DROPPED, f"-P {chain} DROP")
        return Judgement(Fate.ACCEPTED, f"-P {chain} {policy}")

    @cached_property
    def _places(self) -> tuple[frozenset[IPv4Address], tuple[IPv4Network, ...]]:
        """The single addresses that its rules name, and the networks."""
        found: set[IPv4Network] = set()
        for rule in (r for rules in self.chains.values() for r in rules):
            for option, _, value in rule.matches:
                if option in ("-s", "--source", "-d", "--destination"):
                    found.update(_networks(value) or ())
        single = frozenset(n.network_address for n in found if n.prefixlen == 32)
        return single, tuple(sorted(n for n in found if n.prefixlen < 32))

    def place(self, address: str) -> tuple[str, tuple[IPv4Network, ...]]:
        """What its rules say of this address, as a source or a destination: the same for whom none tells apart."""
        single, networks = self._places
        try:
            where = IPv4Address(address)
        except ValueError:
            return address, ()
        return address if where in single else "", tuple(n for n in networks if where in n)

    def _walk(self, chain: str, packet: Packet, steps: list[int], depth: int) -> Judgement | None:
        for rule in self.chains.get(chain, ()):
            steps[0] += 1
            if steps[0] > _STEPS or depth > _DEPTH:
                return Judgement(Fate.UNKNOWN, rule.text)
            fits = _fits(rule, packet)
            if fits is False:
                continue
            match rule.target:
                case "ACCEPT":
                    return Judgement(Fate.ACCEPTED if fits else Fate.UNKNOWN, rule.text)
                case "DROP" | "REJECT":
                    if fits:
                        return Judgement(Fate.DROPPED, rule.text)
                case "RETURN":
                    return None if fits else Judgement(Fate.UNKNOWN, rule.text)
                case target if target in self.chains:
                    inner = self._walk(target, packet, steps, depth + 1)
                    if inner is not None and (fits or inner.fate is not Fate.DROPPED):
                        return inner if fits else Judgement(Fate.UNKNOWN, rule.text)
                    if inner is None and rule.goto:
                        return None if fits else Judgement(Fate.UNKNOWN, rule.text)
                case "" | "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "ULOG" | "AUDIT" | "TRACE" | "SET" | "TCPMSS" | "CT":
                    continue
                case _:
                    return Judgement(Fate.UNKNOWN, rule.text)
        return None


def _fits(rule: Rule, packet: Packet) -> bool | None:
    """Whether a rule's matches all fit; None when that depends on what is not known of the packet."""
    sure: bool | None = True
    for option, negated, value in rule.matches:
        one = _match(option, value, packet)
        if one is not None and negated:
            one = not one
        if one is False:
            return False
        if one is None:
            sure = None
    return sure


def _match(option: str, value: str, packet: Packet) -> bool | None:
    match option:
        case "-p" | "--protocol":
            known = (packet.protocol, "all", {"tcp": "6", "udp": "17"}.get(packet.protocol, "?"))
            return any(one in known for one in value.split(","))
        case "-s" | "--source":
            return _inside(packet.source, value, packet.among)
        case "-d" | "--destination":
            return _inside(packet.destination, value, packet.among)
        case "-i" | "--in-interface":
            return _named(packet.into, value)
        case "-o" | "--out-interface":
            return _named(packet.out, value)
        case "--dport" | "--dports" | "--destination-port" | "--destination-ports":
            return _port(packet.port, value) if packet.port else None
        case "--ctstate" | "--state":
            return "NEW" in value.split(",")
        case "--ctstatus":
            return False if packet.local else None  # whether it was led here by a Service
        case "--dst-type":
            return packet.local if value == "LOCAL" else None
        case "--mark" if value == "0x4000/0x4000":
            return False  # kube-proxy's mark, for what goes by way of a Service
        case "--comment":
            return True
        case "--syn":
            return True
        case "--reject-with" | "--log-prefix" | "--log-level":
            return True
        case _:
            return None


def _networks(value: str) -> list[IPv4Network] | None:
    try:
        return [IPv4Network(one, strict=False) for one in value.split(",")]
    except ValueError:
        return None


def _inside(address: str, value: str, among: str) -> bool | None:
    networks = _networks(value)
    if networks is None:
        return None
    try:
        if any(n.prefixlen == 0 for n in networks):
            return True
        if not address:
            return None
        if any(IPv4Address(address) in n for n in networks):
            return True
        many = IPv4Network(among) if among else None
    except ValueError:
        return None
    if many and IPv4Address(address) in many and any(n.subnet_of(many) for n in networks):
        return None
    return False


def _named(name: str, value: str) -> bool | None:
    if not name:
        return None
    return any(name.startswith(one[:-1]) if one.endswith("+") else name == one for one in value.split(","))


def _port(port: int, value: str) -> bool | None:
    for part in value.split(","):
        first, _, last = part.partition(":")
        low, high = whole(first or "0"), whole((last or "65535") if ":" in part else first)
        if not (first or last) or low is None or high is None:
            return None
        if low <= port <= high:
            return True
    return False


#: Options without a value.
_BARE = frozenset({"--syn", "--random", "--random-fully", "--fragment", "-f"})
_LEGACY = re.compile(r"iptables-legacy tables present|iptables tables present|nf_tables tables present")


class Filters(HostFact[Filter]):
    """The filter table of iptables, of the backend that the node's own iptables speaks."""

    sources = (NodeCommand("iptables-filter", ("iptables-save", "-t", "filter"), sudo=True, limit=8 << 20),)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> Filter:
        """``:INPUT ACCEPT [0:0]`` and ``-A INPUT -p tcp -j DROP``."""
        return read_filter(answer(answers, "iptables-filter"))


def read_filter(text: str) -> Filter:
    """The chains of one table, as ``iptables-save`` prints them."""
    chains: dict[str, list[Rule]] = {}
    policies: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith(":"):
            name, policy, *_ = (*line[1:].split(), "", "")
            chains.setdefault(name, [])
            if policy != "-":
                policies[name] = policy
        elif line.startswith("-A "):
            name, rule = _rule(line)
            chains.setdefault(name, []).append(rule)
    return Filter({name: tuple(rules) for name, rules in chains.items()}, policies, legacy=bool(_LEGACY.search(text)))


def _rule(line: str) -> tuple[str, Rule]:
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    chain, rest = words[1] if len(words) > 1 else "", words[2:]
    matches: list[tuple[str, bool, str]] = []
    target, goto, negated = "", False, False
    module = ""
    while rest:
        word = rest.pop(0)
        if word == "!":
            negated = True
        elif word in ("-j", "--jump", "-g", "--goto"):
            target, goto = (rest.pop(0) if rest else ""), word in ("-g", "--goto")
            break  # what follows are the target's own options
        elif word in ("-m", "--match"):
            module = rest.pop(0) if rest else ""
            if module not in ("tcp", "udp", "comment", "conntrack", "state", "multiport", "addrtype", "mark"):
                matches.append((module, False, ""))  # unknown: it may fit
        elif word.startswith("-"):
            value = "" if word in _BARE or not rest or rest[0] in ("-m", "-j", "!") else rest.pop(0)
            matches.append((word, negated, value))
            negated = False
    return chain, Rule(line, tuple(matches), target, goto)


@dataclass(frozen=True)
class ServiceRules:
    """What kube-proxy in iptables mode has written: where a connection to a Service's address goes."""

    chains: Mapping[tuple[str, str, int], str] = field(default_factory=dict)  # (address, protocol, port) → chain
    jumps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)  # endpoint chain → ip:port
    hooks: frozenset[str] = frozenset()  # built-in chains that lead to KUBE-SERVICES
    names: frozenset[str] = frozenset()
    first: tuple[tuple[str, Rule], ...] = ()  # rules of others in the built-in chains that come before kube-proxy's
    legacy: bool = False

    def diverted(self, chain: str, packet: Packet) -> Rule | None:
        """The rule of somebody else that certainly takes a packet before kube-proxy's own see it."""
        for where, rule in self.first:
            if where == chain and rule.target in _TAKES and _fits(rule, packet):
                return rule
        return None

    @cached_property
    def written(self) -> bool:
        """Whether kube-proxy in iptables mode has ever written here."""
        return any(n.startswith(("KUBE-SVC-", "KUBE-SEP-")) for n in self.names)

    def endpoints(self, address: str, protocol: str, port: int) -> tuple[str, ...] | None:
        """``ip:port`` of the endpoints that are behind an address; None when no rule is for it."""
        chain = self.chains.get((address, protocol.lower(), port))
        if chain is None:
            return None
        found: list[str] = []
        seen: set[str] = set()
        todo = [chain]
        while todo:
            one = todo.pop()
            if one in seen:
                continue
            seen.add(one)
            if one in self.targets:
                found.append(self.targets[one])
            todo.extend(self.jumps.get(one, ()))
        return tuple(sorted(found))


#: What ends the way of a packet through the nat table.
_TAKES = ("DNAT", "REDIRECT", "ACCEPT", "RETURN")
_SERVICE = re.compile(
    r"-A KUBE-SERVICES -d (?P<ip>[\d.]+)/32 (?:! -s \S+ )?-p (?P<proto>\w+) .*?--dport (?P<port>\d+) .*?"
    r"-j (?P<chain>KUBE-(?:SVC|SVL|EXT|XLB|FW)-\w+)"
)
_JUMP = re.compile(r"-A (KUBE-(?:SVC|SVL|EXT|XLB|FW)-\w+) .*?-j (KUBE-(?:SVC|SVL|SEP)-\w+)")
_DNAT = re.compile(r"-A (KUBE-SEP-\w+) .*?-j DNAT .*?--to-destination (\S+)")


class ServiceTables(HostFact[ServiceRules]):
    """The nat table of iptables, as far as it is kube-proxy's."""

    sources = (NodeCommand("iptables-nat", ("iptables-save", "-t", "nat"), sudo=True, limit=16 << 20, seconds=10),)

    @staticmethod
    def parse(node: str, answers: tuple[Answer, ...]) -> ServiceRules:
        """One pass over the lines; a large cluster has a hundred thousand of them."""
        chains: dict[tuple[str, str, int], str] = {}
        jumps: dict[str, list[str]] = {}
        targets: dict[str, str] = {}
        names: set[str] = set()
        hooks: set[str] = set()
        first: list[tuple[str, Rule]] = []
        text = answer(answers, "iptables-nat")
        for line in text.splitlines():
            if line.startswith(":KUBE-"):
                names.add(line[1:].split(" ", 1)[0])
            elif line.startswith("-A KUBE-SERVICES "):
                if m := _SERVICE.match(line):
                    chains[m["ip"], m["proto"], int(m["port"])] = m["chain"]
            elif line.startswith("-A KUBE-SEP-"):
                if m := _DNAT.match(line):
                    targets[m[1]] = m[2]
            elif line.startswith("-A KUBE-"):
                if m := _JUMP.match(line):
                    jumps.setdefault(m[1], []).append(m[2])
            elif line.startswith(("-A PREROUTING ", "-A OUTPUT ")):
                chain = line.split()[1]
                if line.endswith("-j KUBE-SERVICES"):
                    hooks.add(chain)
                elif chain not in hooks:
                    first.append(_rule(line))
        return ServiceRules(
            chains,
            {chain: tuple(to) for chain, to in jumps.items()},
            targets,
            frozenset(hooks),
            frozenset(names),
            tuple(first),
            legacy=bool(_LEGACY.search(text)),
        )


def drops(table: Filter, chain: str, packets: Sequence[Packet]) -> Iterator[tuple[Packet, Judgement]]:
    """Those of the packets that are certainly dropped."""
    for packet in packets:
        judged = table.judge(chain, packet)
        if judged.fate is Fate.DROPPED:
            yield packet, judged
