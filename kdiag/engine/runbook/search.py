"""Words looked for in all runbook pages at once."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kdiag.engine.library import did_you_mean, identified, names, plain
from kdiag.errors import UsageError

_LINES = 2
_LINK = re.compile(r"\[([^\]]*)\]\([^)\s]+\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A page that holds the words."""

    check_id: str
    title: str
    words: str

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of it that hold most of them, as they are written; of a link, what it says."""
        return tuple(_LINK.sub(r"\1", text) for text in _lines(pages()[self.check_id], self.words.split()))


@functools.cache
def pages() -> Mapping[str, str]:
    """The Markdown of every page by the id of its check. Imports no check, and so takes a few milliseconds."""
    from importlib.resources import files

    return {
        f"{group.name}/{file.name.removesuffix('.md')}": file.read_text(encoding="utf-8")
        for group in sorted(files("kdiag.runbooks").iterdir(), key=lambda g: g.name)
        if group.is_dir()
        for file in sorted(group.iterdir(), key=lambda f: f.name)
        if file.name.endswith(".md")
    }


def named(word: str) -> str:
    """The id of the one page of that id or name. Raises UsageError, with the nearest, when there is none."""
    found = identified(word, pages())
    if found is None:
        raise UsageError(f"no check is called {word!r}{did_you_mean(plain(word), names(pages()))}")
    return found


def search(words: str) -> list[Hit]:
    """The pages that hold all the words, whatever their case. No words: all pages.

    Whole words, or their beginnings, come before what is inside of others; then the title before the text, and words
    that stand side by side before those that do not.
    """
    phrase = " ".join(words.lower().split())
    wanted = phrase.split()
    together, *each = [_begins(word) for word in (phrase, *wanted)]
    found: list[tuple[tuple[bool, ...], str, Hit]] = []
    for check_id, text in pages().items():
        folded = _folded(check_id)
        if all(word in folded for word in wanted):
            title = text.partition("\n")[0].removeprefix("# ")
            head = f"{title} {check_id.replace('_', ' ')}".lower()
            inside = not all(one.search(folded) for one in each)
            rank = (phrase != check_id, inside, not all(one.search(head) for one in each), not together.search(folded))
            found.append((rank, check_id, Hit(check_id=check_id, title=title, words=phrase)))
    return [hit for _, _, hit in sorted(found, key=lambda one: one[:2])]


def _begins(word: str) -> re.Pattern[str]:
    """The word, or the beginning of one."""
    return re.compile(rf"\b{re.escape(word)}")


@functools.cache
def _folded(check_id: str) -> str:
    # Without its line ends: words that are side by side may stand on two lines.
    return " ".join(f"{check_id} {check_id.replace('_', ' ')} {pages()[check_id]}".lower().split())


def _lines(text: str, wanted: Sequence[str]) -> tuple[str, ...]:
    if not wanted:
        return ()
    phrase = " ".join(wanted)
    begins = [_begins(word) for word in wanted]
    scored: list[tuple[int, int, str]] = []
    for number, line in enumerate(text.split("\n")[1:]):
        folded = line.lower()
        held = sum(word in folded for word in wanted) + (len(wanted) if phrase in folded else 0)
        if held:
            scored.append((-held - 2 * sum(bool(one.search(folded)) for one in begins), number, line.strip()))
    return tuple(line for _, _, line in sorted(scored)[:_LINES])
