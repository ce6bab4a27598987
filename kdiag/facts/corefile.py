"""CoreDNS's configuration: read far enough to say what CoreDNS itself would refuse."""

from __future__ import annotations

from dataclasses import dataclass

#: The plugins that the upstream build has. A custom build has more, so an unknown name alone proves nothing.
DIRECTIVES = frozenset(
    {
        *("acl", "any", "auto", "autopath", "azure", "bind", "bufsize", "cache", "cancel", "chaos", "clouddns"),
        *("debug", "dns64", "dnssec", "dnstap", "erratic", "errors", "etcd", "file", "forward", "geoip", "grpc"),
        *("grpc_server", "header", "health", "hosts", "https", "https3", "import", "k8s_external", "kubernetes"),
        *("loadbalance", "local", "log", "loop", "metadata", "minimal", "multisocket", "nomad", "nsid", "pprof"),
        *("prometheus", "quic", "quictransport", "ready", "reload", "rewrite", "root", "route53", "secondary"),
        *("sign", "template", "timeouts", "tls", "trace", "transfer", "tsig", "view", "whoami"),
    }
)
#: What older versions had and newer ones refuse.
REMOVED = {"proxy": "forward", "federation": ""}


#: What makes names of one domain those of another, or answers for the cluster in the plugin's place.
_TRANSLATES = {"rewrite", "kubernetai", "import", "template", "k8s_gateway", "etcd"}


@dataclass(frozen=True, slots=True)
class Directive:
    """One plugin of a server block: its name, the rest of its line, the line's number, and the lines in its braces."""

    name: str
    args: tuple[str, ...]
    line: int
    body: tuple[tuple[str, ...], ...] = ()

    def option(self, name: str) -> tuple[str, ...] | None:
        """What stands behind the first line of that name in its braces; None where there is none."""
        return next((one[1:] for one in self.body if one[0] == name), None)


@dataclass(frozen=True, slots=True)
class ServerBlock:
    """One server block: the zones it answers and its plugins."""

    zones: tuple[str, ...]
    directives: tuple[Directive, ...]
    line: int

    def all(self, name: str) -> tuple[Directive, ...]:
        """The directives of that name."""
        return tuple(d for d in self.directives if d.name == name)


@dataclass(frozen=True, slots=True)
class Corefile:
    """A parsed Corefile. ``error`` says what the braces or the quotes lack, with the line; empty when they match."""

    blocks: tuple[ServerBlock, ...]
    error: str = ""


def domain_of(zone: str) -> str:
    """The domain of a server block's zone: without scheme, port and the dot at its end."""
    plain = zone.removeprefix("dns://")
    return (plain.rpartition(":")[0] if ":" in plain else plain).rstrip(".").lower()


def service_zones(text: str) -> tuple[Directive, tuple[str, ...]] | None:
    """The line by which CoreDNS knows the cluster's names, and its zones; None where that cannot be told."""
    blocks = parse_corefile(text).blocks
    if any(d.name in _TRANSLATES for b in blocks for d in b.directives):
        return None
    found = [(b, d) for b in blocks for d in b.all("kubernetes")]
    if not found:
        return None
    zones: list[str] = []
    for block, directive in found:
        named = directive.args or tuple(map(domain_of, block.zones))
        zones += [z for z in (n.strip().rstrip(".").lower() for n in named) if not z.endswith(".arpa") and "/" not in z]
    if any("$" in z or "{" in z for z in zones):
        return None
    if not zones and not all(a.endswith(".arpa") for a in found[0][1].args):
        return None
    zones = zones or list(found[0][1].args)  # those of addresses alone: of no domain of Services
    if not zones:
        return None
    return found[0][1], tuple(dict.fromkeys(zones))


def parse_corefile(text: str) -> Corefile:
    """Read a Corefile as CoreDNS splits it: words, quotes, comments, braces. Never raises."""
    blocks: list[ServerBlock] = []
    zones: list[str] = []
    directives: list[Directive] = []
    depth = 0
    opened: list[int] = []
    snippet = False
    error = ""
    quote_line = 0
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        line, first = lines[number], number + 1
        number += 1
        words, open_quote = _words(line)
        while open_quote and number < len(lines):  # a quoted value may go on over lines
            line = f"{line}\n{lines[number]}"
            number += 1
            words, open_quote = _words(line)
        if open_quote:
            quote_line = first
        at_start = True
        while words:
            if depth == 0:
                word = words.pop(0)
                if word == "}":
                    return Corefile(tuple(blocks), error or f"line {first}: a }} closes nothing")
                if word == "{":
                    depth, opened, directives = 1, [first], []
                    snippet = len(zones) == 1 and zones[0].startswith("(")
                elif word == "import" and not zones:
                    words = []
                else:
                    zones.extend(z for z in word.split(",") if z)
                at_start = False
                continue
            word = words.pop(0)
            if word == "}":
                depth -= 1
                opened.pop()
                if depth == 0:
                    if not snippet:
                        blocks.append(ServerBlock(tuple(zones), tuple(directives), first))
                    zones = []
                at_start = False
                continue
            if depth == 2 and at_start and directives:
                last = directives[-1]
                inner = (word, *(w for w in words if w not in "{}"))
                directives[-1] = Directive(last.name, last.args, last.line, (*last.body, inner))
                at_start = False
            if depth == 1 and at_start:
                args = [w for w in words if w != "{"]
                directives.append(Directive(word, tuple(args[: args.index("}")] if "}" in args else args), first))
                at_start = False
            if word == "{" and not words:  # a brace opens a block only at the end of a line
                depth += 1
                opened.append(first)
    if quote_line:
        error = f"line {quote_line}: a quote is not closed"
    elif depth:
        error = f"line {opened[-1]}: a {{ is not closed"
    elif zones and blocks:
        error = f"{' '.join(zones)} at the end has no block"
    return Corefile(tuple(blocks), error)


def _words(line: str) -> tuple[list[str], bool]:
    """The words of a line, without its comment, and whether a quote is left open."""
    words: list[str] = []
    word, quoted, inside = "", False, False
    for char in line:
        if inside:
            if char == '"':
                inside = False
            else:
                word += char
        elif char == '"' and not word:
            inside = quoted = True
        elif char == "#" and not word:
            break
        elif char.isspace():
            if word or quoted:
                words.append(word)
            word, quoted = "", False
        else:
            word += char
    if word or quoted:
        words.append(word)
    return words, inside
