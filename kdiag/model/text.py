"""Text from a cluster, made safe to show, and small helpers for sentences.

Whatever a cluster, a node or a file says may hold terminal escapes, bidirectional overrides or
invisible characters. ``clean`` makes them visible; it is applied once, where text is observed.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import timedelta

_C0 = {i: chr(0x2400 + i) for i in range(0x20)} | {0x7F: "␡"}
_KEPT = {0x09, 0x0A}
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
# Most text is ASCII: only what is not is looked at one by one.
_ODD = re.compile(r"[^\t\n -~]")


def clean(text: str) -> str:
    """Make every character visible that could move a cursor, hide or reorder text; keep tabs and line ends."""
    return text if text.isprintable() else _ODD.sub(lambda odd: _visible(odd[0]), text)


def clean_line(text: str) -> str:
    """As ``clean``, and on one line: line ends and tabs become a visible mark or a space."""
    if text.isprintable():
        return text
    return clean(text.strip().replace("\r\n", "\n")).replace("\n", " ⏎ ").replace("\t", " ")


def _visible(char: str) -> str:
    code = ord(char)
    if code in _KEPT or char.isprintable():
        return char
    if code in _C0:
        return _C0[code]
    return f"<U+{code:04X}>" if unicodedata.category(char) in _UNSAFE else char


def shorten(text: str, width: int) -> str:
    """Cut ``text`` to ``width`` characters, with an ellipsis in place of what was cut."""
    return text if len(text) <= width else text[: max(width - 1, 0)].rstrip() + "…"


def middle(text: str, width: int) -> str:
    """Cut the middle out of ``text``, so that both ends of a long path or name stay readable."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def plural(count: int, noun: str, many: str = "") -> str:
    """``1 pod``, ``2 pods``."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def listing(words: Iterable[str], most: int = 3) -> str:
    """The first few words and how many more there are; never a silent cut."""
    all_words = list(words)
    shown = all_words[:most]
    more = len(all_words) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def duration(delta: timedelta) -> str:
    """An age as kubectl writes it: ``45s``, ``12m``, ``3h20m``, ``5d``."""
    seconds = int(delta.total_seconds())
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    if seconds < 120:
        return f"{sign}{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 10:
        rest = seconds % 60
        return f"{sign}{minutes}m{rest}s" if rest else f"{sign}{minutes}m"
    if hours < 3:
        return f"{sign}{minutes}m"
    if hours < 8:
        rest = minutes % 60
        return f"{sign}{hours}h{rest}m" if rest else f"{sign}{hours}h"
    return f"{sign}{hours}h" if days < 2 else f"{sign}{days}d"


def whole(text: str) -> int | None:
    """The number that a text is; None where it is none, or more digits than anything counts."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


_GO_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def go_seconds(text: str) -> float | None:
    """The seconds of a duration as Go writes it, without a sign: ``1m30s``, ``500ms``, ``0``; None where it is none."""
    parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)", text)
    if "".join(number + unit for number, unit in parts) != text or not parts:
        return 0.0 if text == "0" else None
    return sum(float(number) * _GO_UNITS[unit] for number, unit in parts)


def distance(a: str, b: str, limit: int = 3) -> int:
    """Edits (insert, delete, replace, swap of neighbours) from ``a`` to ``b``; ``limit + 1`` when there are more."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(row[-1] + 1, last[j] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
        before, last = last, row
    return last[-1]


_WORDS = re.compile(r"[-_.]")


def nearest(word: str, candidates: Sequence[str]) -> str | None:
    """The candidate that ``word`` was probably meant to be, or None when none is close."""
    best: tuple[int, str] | None = None
    wanted = word.lower()
    words, limit = set(_WORDS.split(wanted)), max(1, min(3, len(word) // 3))
    for name in sorted(set(candidates)):
        if name == word:
            continue
        other = name.lower()
        edits = distance(wanted, other, limit)
        contained = len(wanted) >= 4 and (wanted in other or other in wanted)
        same_words = (len(words) > 1 or wanted in other) and words == set(_WORDS.split(other))
        if edits <= limit or contained or same_words:
            score = min(edits, 2 if contained or same_words else edits)
            if best is None or score < best[0]:
                best = (score, name)
    return best[1] if best else None


#: A next step that begins so is a line for a shell, to be copied whole; any other is a sentence.
_COMMAND = re.compile(
    r"(?:aws|crictl|dig|docker|etcdctl|grep|helm|journalctl|kdiag|kubeadm|kubectl|openssl|ping|ssh|stat|sudo|systemctl"
    r"|timedatectl)(?: |$)|[A-Z_]+=|for \w+ in "
)


def is_command(step: str) -> bool:
    """Whether a next step is a command, and no sentence."""
    return _COMMAND.match(step) is not None


#: What a shell hands on as it stands, word by word.
PLAIN = re.compile(r"[\w@%+=:,./ -]+", re.ASCII)


def ssh(node: str, command: str) -> str:
    """A command for the shell of a node as a person types it on their own machine, whose shell reads it first.

    An editor gets a terminal (``-t``), without which it cannot be used.
    """
    terminal = "-t " if command.startswith("sudoedit ") else ""
    if not PLAIN.fullmatch(command):
        command = shlex.quote(command) if "'" not in command or re.search(r'["$`\\!]', command) else f'"{command}"'
    return f"ssh {terminal}{node} {command}"


#: A command that ends a sentence, behind its colon; not "kubectl with a token", nor one that the sentence leaves again.
_LAST_COMMAND = re.compile(rf"(?<=: )(?!\w+ (?:with|and|to) )(?:{_COMMAND.pattern})(?!.*, (?:then|or) ).*")


def command_in(step: str) -> tuple[str, str]:
    """The words of a sentence, and the command that it ends in; without one it is all words."""
    match = _LAST_COMMAND.search(step)
    return (step[: match.start()].rstrip(), match[0]) if match else (step, "")
