"""Colour for a terminal, and only there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kdiag.model.result import Severity

_SGR = {
    "bold": "1",
    "dim": "2",
    "red": "1;31",
    "yellow": "33",
    "green": "32",
    "cyan": "36",
    "magenta": "35",
}
_OF = {
    Severity.CRITICAL: "red",
    Severity.ERROR: "red",
    Severity.WARNING: "yellow",
    Severity.INFO: "cyan",
    Severity.RISK: "magenta",
}


@dataclass(frozen=True, slots=True)
class Style:
    """How text is painted: with SGR sequences, or not at all."""

    color: bool = False
    width: int = 100

    def paint(self, text: str, name: str) -> str:
        """The text in that colour."""
        return f"\x1b[{_SGR[name]}m{text}\x1b[0m" if self.color and text else text

    def severity(self, severity: Severity, text: str) -> str:
        """The text in the colour of a severity."""
        return self.paint(text, _OF[severity])


def wants_color(choice: str, *, terminal: bool, environ: Mapping[str, str]) -> bool:
    """Whether to paint: the flag first, then NO_COLOR, then CLICOLOR_FORCE, then what the output is."""
    if choice in ("always", "never"):
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    return terminal and environ.get("TERM") != "dumb"


def visible_length(text: str) -> int:
    """The number of characters without the colour sequences that ``Style`` adds."""
    return len(re.sub(r"\x1b\[[0-9;]*m", "", text))
