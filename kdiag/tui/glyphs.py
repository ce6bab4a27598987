"""The signs of the screen, and text from a cluster as it may stand on one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from kdiag.model.result import Severity
from kdiag.model.step import State
from kdiag.model.text import clean_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """What marks what; beside every colour stands one of these."""

    plain: bool
    severity: Mapping[Severity, str]
    state: Mapping[State, str]
    open: str
    folded: str
    twig: str
    last: str
    rail: str
    dot: str
    bar: str
    gap: str
    dots: str
    prompt: str
    pipe: str
    new: str
    gone: str
    arrow: str
    cursor: str


FANCY = Glyphs(
    plain=False,
    severity={
        Severity.CRITICAL: "✖",
        Severity.ERROR: "▲",
        Severity.WARNING: "●",
        Severity.INFO: "·",
        Severity.RISK: "◇",
    },
    state={State.OK: "✔", State.BROKEN: "✖", State.UNKNOWN: "?", State.ABSENT: "–"},
    open="▾",
    folded="▸",
    twig="├",
    last="└",
    rail="│",
    dot="·",
    bar="━",
    gap="─",
    dots="…",
    prompt="❯",
    pipe="│",
    new="✚",
    gone="✔",
    arrow="→",
    cursor="▌",
)
#: For TERM=linux, whose font lacks most signs, and for a locale that is not UTF-8.
ASCII = Glyphs(
    plain=True,
    severity={
        Severity.CRITICAL: "X",
        Severity.ERROR: "!",
        Severity.WARNING: "*",
        Severity.INFO: ".",
        Severity.RISK: "~",
    },
    state={State.OK: "+", State.BROKEN: "X", State.UNKNOWN: "?", State.ABSENT: "-"},
    open="v",
    folded=">",
    twig="|",
    last="`",
    rail="|",
    dot="-",
    bar="#",
    gap=".",
    dots="~",
    prompt=">",
    pipe="|",
    new="+",
    gone="-",
    arrow="->",
    cursor=">",
)


def glyphs(environ: Mapping[str, str], encoding: str) -> Glyphs:
    """The signs that this terminal can show."""
    choice = environ.get("KDIAG_ASCII", "")
    if choice:
        return FANCY if choice == "0" else ASCII
    if environ.get("TERM") in ("linux", "dumb", "vt100", "vt220"):
        return ASCII
    return FANCY if encoding.lower().replace("-", "").replace("_", "") == "utf8" else ASCII


_JOINED = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_MOST_MARKS = 2
_FOLDED = {
    "…": "~", "→": "->", "⏎": "/", "·": "-", "✓": "+", "✗": "X", "–": "-", "—": "-", "“": '"', "”": '"', "‘": "'",
    "’": "'", "│": "|", "─": "-", "•": "*", "×": "x", "≤": "<=", "≥": ">=",
}  # fmt: skip


def literal(text: str, *, plain: bool = False) -> str:
    """Text as it may stand on a screen: on one line, nothing in it that moves the cursor or the cells around it.

    Variation selectors, over whose width terminals do not agree, are taken out, and towers of combining marks are cut.
    With ``plain``, only ASCII is left.
    """
    text = clean_line(text)
    if text.isascii():
        return text
    if plain:
        return "".join(_FOLDED.get(c, c) for c in text).encode("ascii", "replace").decode()
    return _lowered(_JOINED.sub("", text))


def typed(text: str) -> str:
    """What was typed or pasted, without what does not print: a log line from a cluster may be pasted, too."""
    return _lowered(_JOINED.sub("", "".join(c for c in text if c.isprintable())))


def _lowered(text: str) -> str:
    found: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks <= _MOST_MARKS:
            found.append(char)
    return "".join(found)
