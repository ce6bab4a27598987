"""The keys, made of the bindings: what is not bound is not on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdiag.tui.commands import COMMANDS
from kdiag.tui.page import Line, line


def help_page(sections: Mapping[str, Sequence[tuple[str, str]]]) -> list[Line]:
    """The page: for each section the keys and what they do."""
    lines: list[Line] = []
    for title, keys in sections.items():
        if not keys:
            continue
        lines += [line(), line((title.upper(), "head"))] if lines else [line((title.upper(), "head"))]
        width = max(len(key) for key, _ in keys)
        lines += [line((f"  {key:<{width}}  ", "key"), (what, ""), hang=width + 4) for key, what in keys]
    lines += [line(), line(("COMMANDS, AFTER :", "head"))]
    width = max(len(f"{one.name} {one.takes}") for one in COMMANDS)
    for one in COMMANDS:
        also = f"  also :{', :'.join(one.also)}" if one.also else ""
        lines.append(
            line((f"  {f'{one.name} {one.takes}':<{width}}  ", "key"), (one.what, ""), (also, "dim"), hang=width + 4)
        )
    lines += [
        line(),
        line(("FILTER, AFTER /", "head")),
        line(("  words must all occur; ", ""), ("-n NAMESPACE", "code"), (" keeps one namespace", ""), hang=2),
    ]
    return lines
