"""The colours: dark, light, and one of strong contrast; on a terminal of 16 colours its own."""

from __future__ import annotations

from collections.abc import Mapping

from rich.style import Style
from textual.color import Color, ColorParseError
from textual.theme import Theme

DARK = Theme(
    name="kdiag-dark",
    dark=True,
    primary="#7aa2f7",
    secondary="#9aa5ce",
    accent="#7dcfff",
    foreground="#c8d0e7",
    background="#11141c",
    surface="#161a24",
    panel="#1d2230",
    success="#8fca6c",
    warning="#e2b25b",
    error="#f7768e",
    variables={"critical": "#ff5c6c", "new": "#bb9af7", "quiet": "#77809c", "line": "#2b3247", "pick": "#28324d"},
)
LIGHT = Theme(
    name="kdiag-light",
    dark=False,
    primary="#2a52be",
    secondary="#51607c",
    accent="#0b6e99",
    foreground="#20242c",
    background="#fbfaf7",
    surface="#f4f2ed",
    panel="#e9e6df",
    success="#2e7d32",
    warning="#8f5a00",
    error="#b3261e",
    variables={"critical": "#a3001b", "new": "#6a1b9a", "quiet": "#5f6673", "line": "#cfcabf", "pick": "#d9e2f5"},
)
CONTRAST = Theme(
    name="kdiag-contrast",
    dark=True,
    primary="#ffffff",
    secondary="#ffffff",
    accent="#00ffff",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#000000",
    success="#00ff00",
    warning="#ffff00",
    error="#ff6060",
    variables={"critical": "#ff4040", "new": "#ff80ff", "quiet": "#d0d0d0", "line": "#808080", "pick": "#0000c0"},
)
THEMES = (DARK, LIGHT, CONTRAST)


def chosen(environ: Mapping[str, str]) -> str:
    """The theme to begin with: KDIAG_THEME, else what COLORFGBG says of the terminal's background, else dark."""
    name = environ.get("KDIAG_THEME", "")
    if name:
        return f"kdiag-{name}" if name in ("dark", "light", "contrast") else name
    background = environ.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT.name if background in ("7", "15") else DARK.name


def variables(theme: Theme) -> dict[str, str]:
    """What kdiag's own style sheet asks of any theme; kdiag's themes say it themselves."""
    ground = theme.background or ("#121212" if theme.dark else "#efefef")
    text = theme.foreground or ("#e0e0e0" if theme.dark else "#202020")
    try:
        low, high = Color.parse(ground), Color.parse(text)
        quiet, line, pick = (low.blend(high, share).hex for share in (0.6, 0.25, 0.18))
    except ColorParseError:
        quiet, line, pick = text, text, ground
    return {
        "critical": theme.error or "#ff5c6c",
        "new": theme.accent or theme.primary,
        "quiet": quiet,
        "line": line,
        "pick": pick,
    }


#: What a span's style name means: a colour of the theme, and how it is set.
_TONES: Mapping[str, tuple[str, str]] = {
    "bold": ("", "bold"),
    "brand": ("accent", "bold"),
    "dim": ("quiet", ""),
    "head": ("secondary", "bold"),
    "title": ("accent", "bold"),
    "label": ("secondary", ""),
    "prompt": ("quiet", ""),
    "command": ("accent", ""),
    "set": ("secondary", ""),
    "code": ("accent", ""),
    "link": ("primary", "underline"),
    "mark": ("warning", "bold reverse"),
    "good": ("success", ""),
    "warn": ("warning", ""),
    "error": ("error", ""),
    "critical": ("critical", "bold"),
    "warning": ("warning", ""),
    "info": ("accent", ""),
    "risk": ("new", ""),
    "new": ("new", ""),
    "rule": ("line", ""),
    "bar": ("quiet", ""),
    "group": ("secondary", "bold"),
    "key": ("accent", "bold"),
}
_GROUNDS: Mapping[str, str] = {"cursor": "pick", "stop": "panel"}
_KNOWN: list[tuple[Mapping[str, str], dict[str, Style]]] = []


def tones(colours: Mapping[str, str]) -> dict[str, Style]:
    """The style of every name in a theme of these colours. The same for the same mapping, made once."""
    if _KNOWN and _KNOWN[0][0] is colours:
        return _KNOWN[0][1]
    found = {name: Style(color=_colour(colours, colour)) + Style.parse(how) for name, (colour, how) in _TONES.items()}
    found |= {name: Style(bgcolor=_colour(colours, colour)) for name, colour in _GROUNDS.items()}
    _KNOWN[:] = [(colours, found)]
    return found


def _colour(colours: Mapping[str, str], name: str) -> str | None:
    try:
        return Color.parse(colours[name]).rich_color.name if name else None
    except (KeyError, ColorParseError):
        return None
