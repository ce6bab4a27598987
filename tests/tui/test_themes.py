"""Every text can be read on every ground, in as many colours as a terminal has."""

from __future__ import annotations

import itertools

import pytest
from rich.color import Color, ColorSystem
from textual.theme import Theme

from kdiag.tui.themes import THEMES, chosen, own, tones

_TEXTS = ("primary", "secondary", "accent", "success", "warning", "error", "critical", "new", "quiet", "foreground")
_GROUNDS = ("background", "surface", "panel", "pick")
_PAIRS = list(itertools.product(_TEXTS, _GROUNDS))
#: The sixteen colours of a Linux console, and those of xterm: what they look like is for each terminal to say.
_CONSOLE = (
    (0, 0, 0), (170, 0, 0), (0, 170, 0), (170, 85, 0), (0, 0, 170), (170, 0, 170), (0, 170, 170), (170, 170, 170),
    (85, 85, 85), (255, 85, 85), (85, 255, 85), (255, 255, 85), (85, 85, 255), (255, 85, 255), (85, 255, 255),
    (255, 255, 255),
)  # fmt: skip
_XTERM = (
    (0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205), (0, 205, 205), (229, 229, 229),
    (127, 127, 127), (255, 0, 0), (0, 255, 0), (255, 255, 0), (92, 92, 255), (255, 0, 255), (0, 255, 255),
    (255, 255, 255),
)  # fmt: skip
_Shade = tuple[int, int, int]


def light(shade: _Shade) -> float:
    """The relative luminance of WCAG 2."""
    red, green, blue = (v / 255 / 12.92 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in shade)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: _Shade, other: _Shade) -> float:
    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def colour(theme: Theme, name: str) -> Color:
    return Color.parse(theme.variables.get(name) or getattr(theme, name))


@pytest.mark.parametrize("theme", THEMES, ids=lambda t: t.name)
@pytest.mark.parametrize("system", [ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT])
@pytest.mark.parametrize(("text", "ground"), _PAIRS)
def test_text_is_read_on_every_ground(theme: Theme, system: ColorSystem, text: str, ground: str) -> None:
    one, other = (colour(theme, name).downgrade(system).get_truecolor() for name in (text, ground))
    assert contrast(one, other) >= 4.5, (one, other)


@pytest.mark.parametrize("theme", own(sixteen=True), ids=lambda t: t.name)
@pytest.mark.parametrize("palette", [_CONSOLE, _XTERM], ids=["console", "xterm"])
@pytest.mark.parametrize(("text", "ground"), _PAIRS)
def test_sixteen_colours_are_enough_to_read(theme: Theme, palette: tuple[_Shade, ...], text: str, ground: str) -> None:
    one, other = (colour(theme, name).downgrade(ColorSystem.STANDARD).number for name in (text, ground))
    assert one is not None
    assert other is not None
    assert contrast(palette[one], palette[other]) >= 4.5, (one, other)


def test_the_names_are_the_same_for_any_number_of_colours() -> None:
    assert [t.name for t in own(sixteen=True)] == [t.name for t in own(sixteen=False)]


def test_the_cursor_turns_round_what_it_stands_on_where_there_is_one_ground() -> None:
    assert tones({"pick": "#ffffff", "background": "#FFFFFF"})["cursor"].reverse
    assert not tones({"pick": "#232b43", "background": "#11141c"})["cursor"].reverse


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "kdiag-dark"),
        ({"COLORFGBG": "0;15"}, "kdiag-light"),
        ({"COLORFGBG": "15;default;0"}, "kdiag-dark"),
        ({"COLORFGBG": "0;15", "KDIAG_THEME": "contrast"}, "kdiag-contrast"),
        ({"KDIAG_THEME": "nord"}, "nord"),
    ],
)
def test_the_theme_follows_what_is_said_of_the_terminal(environ: dict[str, str], name: str) -> None:
    assert chosen(environ) == name
