"""The colours: dark, light, and one of strong contrast; each again for a terminal of 16 colours."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from rich.style import Style
from textual.color import Color, ColorParseError
from textual.theme import Theme

#: Whatever is text is read at 4.5 to 1 on every ground, in 24 bits as in the 256 colours that they are brought down to.
DARK = Theme(
    name="kdiag-dark",
    dark=True,
    primary="#7aa2f7",
    secondary="#9aa5ce",
    accent="#7dcfff",
    foreground="#c8d0e7",
    background="#11141c",
    surface="#16191f",
    panel="#1f2229",
    success="#8fca6c",
    warning="#e2b25b",
    error="#f98096",
    variables={"critical": "#ff6474", "new": "#bb9af7", "quiet": "#949ebb", "line": "#39425c", "pick": "#232b43"},
)
LIGHT = Theme(
    name="kdiag-light",
    dark=False,
    primary="#2448ad",
    secondary="#46536e",
    accent="#085a7f",
    foreground="#20242c",
    background="#fbfaf7",
    surface="#f5f4f0",
    panel="#eae8e3",
    success="#1f6b24",
    warning="#6c4300",
    error="#b3261e",
    variables={"critical": "#a3001b", "new": "#6a1b9a", "quiet": "#555c69", "line": "#c0bbb0", "pick": "#dbe4f6"},
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
    error="#ff7070",
    variables={"critical": "#ff6060", "new": "#ff80ff", "quiet": "#d0d0d0", "line": "#808080", "pick": "#000087"},
)
THEMES = (DARK, LIGHT, CONTRAST)


def _sixteen(theme: Theme, text: str, ground: str, colours: Mapping[str, str]) -> Theme:
    """The theme on a terminal of 16 colours, whose shades nobody knows: one ground, and turned round what is chosen."""
    return dataclasses.replace(
        theme,
        primary=colours["primary"],
        secondary=colours["secondary"],
        accent=colours["accent"],
        success=colours["success"],
        warning=colours["warning"],
        error=colours["error"],
        foreground=text,
        background=ground,
        surface=ground,
        panel=ground,
        variables={
            "critical": colours["error"], "new": colours["new"], "quiet": text, "line": "#555555", "pick": ground
        },
    )  # fmt: skip


_ON_BLACK = {
    "primary": "#ffffff", "secondary": "#ffffff", "accent": "#55ffff", "success": "#55ff55", "warning": "#ffff55",
    "error": "#ff5555", "new": "#ff55ff",
}  # fmt: skip
#: Of the colours that every palette shows dark enough on white there are but three.
_ON_WHITE = {
    "primary": "#0000aa", "secondary": "#000000", "accent": "#0000aa", "success": "#000000", "warning": "#aa00aa",
    "error": "#aa0000", "new": "#aa00aa",
}  # fmt: skip
_SIXTEEN = (
    _sixteen(DARK, "#aaaaaa", "#000000", _ON_BLACK),
    _sixteen(LIGHT, "#000000", "#ffffff", _ON_WHITE),
    _sixteen(CONTRAST, "#ffffff", "#000000", _ON_BLACK),
)


def own(*, sixteen: bool) -> tuple[Theme, ...]:
    """kdiag's own themes; with ``sixteen``, for a terminal that has 16 colours."""
    return _SIXTEEN if sixteen else THEMES


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
    "match": ("warning", "bold"),
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
    for name, colour in _GROUNDS.items():
        # Where there is but one ground, the cursor turns it round.
        ground = _colour(colours, colour)
        flat = name == "cursor" and ground == _colour(colours, "background")
        found[name] = Style(reverse=True) if flat else Style(bgcolor=ground)
    _KNOWN[:] = [(colours, found)]
    return found


def _colour(colours: Mapping[str, str], name: str) -> str | None:
    try:
        return Color.parse(colours[name]).rich_color.name if name else None
    except (KeyError, ColorParseError):
        return None
