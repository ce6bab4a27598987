"""The colours: dark, light, and one of strong contrast; on a terminal of 16 colours its own."""

from __future__ import annotations

from collections.abc import Mapping

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
