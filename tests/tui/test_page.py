"""Pages as lines: wrapped by cells, cut where they are too long, and literal whatever they hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from kdiag.tui.glyphs import ASCII, FANCY, glyphs, literal
from kdiag.tui.messages import MOMENTS, Moment
from kdiag.tui.page import MOST, Action, Line, cropped, fitted, layout, line
from kdiag.tui.pages.finding import next_step
from kdiag.tui.pages.timeline import timeline_page
from kdiag.tui.prose import prose

HOSTILE = (
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x1b]52;c;aGk=\x07", "\x9b2J", "a\rb", "a\x00b", "\u202eevil\u2066",
    "[/foo] [bold]", "zero\u200bwidth", "e" + "\u0301" * 40, "👩\u200d💻 wide",
    "漢字漢字", "\ufe0f\u26a0\ufe0f", "\ud800",
)  # fmt: skip


def rows(*lines: Line | str, width: int) -> list[str]:
    made = [line(one) if isinstance(one, str) else one for one in lines]
    return ["".join(t for t, _ in row.spans) for row in layout(made, width)]


def test_text_is_wrapped_at_words_and_indented() -> None:
    assert rows(line("the quick brown fox jumps", hang=2), width=11) == ["the quick", "  brown fox", "  jumps"]


def test_spans_keep_their_styles_over_rows() -> None:
    painted = layout([line(("aaa bbb", "x"), (" ccc", "y"))], 8)
    assert [row.spans for row in painted] == [(("aaa", "x"), (" ", "x"), ("bbb", "x")), (("ccc", "y"),)]


def test_a_word_without_blanks_is_broken() -> None:
    assert rows("x" * 25, width=10) == ["x" * 10, "x" * 10, "x" * 5]


def test_a_bar_stands_at_the_left_of_every_row() -> None:
    assert rows(line("aaa bbb ccc", bar="| "), width=10) == ["| aaa bbb", "| ccc"]


def test_wide_characters_count_as_two_cells() -> None:
    assert rows("漢字漢字漢字", width=8) == ["漢字漢字", "漢字"]
    assert fitted("漢字", 3) == "漢"


def test_an_empty_line_is_a_row() -> None:
    assert rows(line(), "a", width=10) == ["", "a"]


def test_what_is_cut_is_marked() -> None:
    assert cropped([("abcdef", "x"), ("ghi", "y")], 6) == (("abcde…", "x"),)
    assert cropped([("abc", "x")], 3) == (("abc", "x"),)


def test_an_endless_line_is_not_laid_out_to_its_end() -> None:
    assert len(rows("y" * 1_000_000, width=100)) <= MOST // 100 + 2


def test_a_line_with_something_to_do_or_to_copy_is_a_stop() -> None:
    assert line("a", copies="ls").stop
    assert line("a", action=Action("page", "x")).stop
    assert not line("a").stop


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("signs", [FANCY, ASCII])
def test_no_text_holds_anything_that_drives_a_terminal(text: str, signs: object) -> None:
    shown = literal(text, plain=signs is ASCII)
    assert shown.isprintable()
    assert not set(shown) & set("\x1b\x9b\x07\r\n\u202e\u2066\u200b\u200d\ufe0f\ud800")
    if signs is ASCII:
        assert shown.isascii()


def test_towers_of_combining_marks_are_cut() -> None:
    assert literal("e" + "\u0301" * 40) == "e\u0301\u0301"


@settings(max_examples=200)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=4), st.integers(8, 40), st.integers(0, 6))
def test_whatever_the_text_no_row_is_wider_than_the_screen(parts: list[str], width: int, hang: int) -> None:
    painted = layout([line(*((literal(p), "x") for p in parts), hang=hang, bar="│ ")], width)
    assert all(sum(cell_len(text) for text, _ in row.spans) <= width for row in painted)


@settings(max_examples=100)
@given(st.text(alphabet="ab \u6f22", max_size=80), st.integers(8, 30))
def test_wrapping_loses_nothing_but_blanks(text: str, width: int) -> None:
    joined = "".join("".join(t for t, _ in row.spans) for row in layout([line(text)], width))
    assert joined.replace(" ", "") == text.replace(" ", "")


def test_the_signs_are_plain_where_the_terminal_has_no_others() -> None:
    assert glyphs({"TERM": "xterm"}, "utf-8") is FANCY
    assert glyphs({"TERM": "linux"}, "UTF-8") is ASCII
    assert glyphs({"TERM": "xterm"}, "ANSI_X3.4-1968") is ASCII
    assert glyphs({"TERM": "linux", "KDIAG_ASCII": "0"}, "ascii") is FANCY


def test_markdown_becomes_lines_with_links_and_commands() -> None:
    text = "Look at [x](other.md), then [y](../application/y.md).\n\n- one `code`\n- two\n\n```sh\nkubectl get x\n```\n"
    lines = prose(text, "network")
    assert [one.action for one in lines if one.action] == [
        Action("page", "network/other"),
        Action("page", "application/y"),
    ]
    assert [one.copies for one in lines if one.copies] == ["kubectl get x"]
    assert ("code", "code") in [span for one in lines for span in one.spans]


def test_markdown_of_a_hostile_page_is_literal() -> None:
    lines = prose(
        "a \x1b[31m `b\x07` [c](javascript:x)\n\n<b>&lt;</b>\n\n| a | b |\n|---|---|\n| 1 | [/x] |\n", "network"
    )
    text = "\n".join(one.text for one in lines)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[/x]" in text
    assert "<b>" in text


def test_a_timeline_that_is_cut_says_so() -> None:
    moments = [Moment(when="2026-11-22T10:00:00Z", kind="event", what=f"Pod a/b-{n}: x") for n in range(MOMENTS)]
    assert timeline_page(moments, "")[-1].text == "only the newest 2,000 are here"
    assert "only the newest" not in timeline_page(moments[1:], "")[-1].text


@pytest.mark.parametrize("step", ["ssh w2 date   # now", "look at its clock: ssh w2 date", "ssh w2 date"])
def test_a_command_at_the_end_of_a_step_can_be_copied(step: str) -> None:
    rows = list(next_step(step, FANCY))
    assert [row.copies for row in rows if row.copies] == ["ssh w2 date"]
