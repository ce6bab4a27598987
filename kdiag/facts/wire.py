"""JSON from the API into lean structs, one page at a time.

A page is decoded in one pass into the few fields that facts need. Where one object breaks the shape (a null for a
list, a number for a name), the page is read again object by object, without its nulls; what still does not fit
is a gap that names the object, and the others stay.
"""

from __future__ import annotations

import json
import re
import threading
from functools import lru_cache
from typing import Any, Generic, TypeVar

import msgspec

from kdiag.facts.base import Fact, Objects
from kdiag.model.observation import Observation
from kdiag.model.quantity import Quantity
from kdiag.model.result import Gap
from kdiag.model.text import clean, clean_line, listing, shorten

T = TypeVar("T")

_ESCAPED = re.compile(
    r"\\\\|(\\u[dD][89aAbB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\([rbf])"
    r"|([\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ue000-\uf8ff\ufeff\ufff9-\ufffb"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e007f\U000f0000-\U0010ffff])"
)
_SUSPECT = re.compile(rb"\\[urbf]")
_MANAGED = b',"managedFields":['


class ListMeta(msgspec.Struct, gc=False):
    """The part of a list that says whether more pages follow."""

    continue_: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct, Generic[T], gc=False):
    """One page of a list; a list of nothing may say so by its kind alone."""

    kind: str = ""
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)
    items: list[T] | msgspec.UnsetType | None = msgspec.UNSET

    def objects(self) -> list[T]:
        """What is on it. Raises ValueError where it is no page of a list."""
        if self.items is msgspec.UNSET and not self.kind.endswith("List"):
            raise ValueError("no kind of list and no items in it")
        return self.items or []


def dec_hook(kind: type, value: Any) -> Any:
    """Make the types that JSON has not."""
    if kind is Quantity:
        return _quantity(value)
    raise NotImplementedError(kind)


@lru_cache(maxsize=4096)
def _quantity(value: str | int | float) -> Quantity:
    # The same few amounts come back thousands of times: each is read, and kept, once.
    return Quantity.parse(value)


_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}
_MAKING = threading.Lock()


def decoder(shape: Any) -> msgspec.json.Decoder[Any]:
    """The decoder of one shape, made once."""
    found = _DECODERS.get(shape)
    if found is None:
        # msgspec lets other threads see a struct's description while it is still being made (a crash in 0.22), and two
        # shapes may share a struct: one decoder is made at a time, and used when it is whole.
        with _MAKING:
            found = _DECODERS[shape] = msgspec.json.Decoder(shape, dec_hook=dec_hook)
    return found


def convert(value: Any, shape: Any) -> Any:
    """A value that was decoded loosely, in that shape; text that is a number will do for one."""
    decoder(shape)  # so that the shape is whole before it is used
    return msgspec.convert(value, shape, strict=False, dec_hook=dec_hook)


def clean_json(body: bytes) -> bytes:
    """Replace, in JSON text, every escape or character that could drive a terminal by a visible one."""
    if body.isascii() and b"\x7f" not in body and (b"\\" not in body or not _SUSPECT.search(body)):
        return body
    return _ESCAPED.sub(_visible, body.decode("utf-8", "replace")).encode("utf-8", "replace")


def unmanaged(body: bytes | memoryview) -> bytes | memoryview:
    """The page without what it says of who wrote which field: two fifths of its text, and nothing that a fact reads.

    Such a list holds no other list, so that its end is the next bracket, which is found ten times as fast as JSON is
    passed over. Where a bracket stands in it all the same, what is left is no JSON, and the page must be read whole.
    A list that is passed over, for it comes sooner behind the last one than half as far as that behind its own, stays.
    """
    whole = body.obj if isinstance(body, memoryview) else body
    if not isinstance(whole, bytes | bytearray):
        return body
    parts: list[bytes | memoryview] = []
    at, far, size = 0, 0, len(body)
    while (start := whole.find(_MANAGED, at + far // 2, size)) >= 0:
        end = whole.find(b"]", start, size) + 1
        # A view may begin elsewhere than what it is a view of.
        if not end or (not parts and body[start:end] != whole[start:end]):
            return body
        parts.append(body[at:start])
        at, far = end, start - at
    parts.append(body[at:])
    return b"".join(parts)


def _visible(match: re.Match[str]) -> str:
    pair, code, short, char = match.groups()
    if pair:  # a character beyond the first plane, such as the letters of a flag that nobody sees
        char = json.loads(f'"{pair}"')
        return pair if char.isprintable() else clean(char)
    if code:
        value = int(code, 16)
        if 0xD800 <= value <= 0xDFFF:
            return "\ufffd"
        char = chr(value)
        return match[0] if char in '"\\\n\t' or char.isprintable() else clean(char)
    if short:
        return clean({"r": "\r", "b": "\b", "f": "\f"}[short])
    return clean(char) if char else match[0]


def without_nulls(value: Any) -> Any:
    """The same document without the keys whose value is null."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [without_nulls(v) for v in value if v is not None]
    return value


def describe(raw: Any) -> str:
    """Name a raw object for a person, whatever it is."""
    meta = raw.get("metadata") if isinstance(raw, dict) else None
    if isinstance(meta, dict):
        name = "/".join(str(meta[k]) for k in ("namespace", "name") if isinstance(meta.get(k), str))
        if name:
            return shorten(clean_line(name), 120)
    return "an object without a name"


def read_page(body: bytes, item: type[T], what: str) -> tuple[list[T], list[Gap]]:
    """The objects of one page, and a gap for each part of it that could not be read."""
    try:
        page: Page[T] = decoder(Page[item]).decode(body)  # type: ignore[valid-type]
        return page.objects(), []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return _read_one_by_one(body, item, what)


def _read_one_by_one(body: bytes, item: type[T], what: str) -> tuple[list[T], list[Gap]]:
    try:
        values = decoder(Page[Any]).decode(body).objects()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as exc:
        return [], [Gap(what, f"the answer is not a list: {shorten(clean_line(str(exc)), 160)}")]
    items: list[T] = []
    gaps: list[Gap] = []
    for value in values:
        try:
            items.append(convert(without_nulls(value), item))
        except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
            gaps.append(Gap(what, f"{describe(value)} cannot be read: {shorten(clean_line(str(exc)), 160)}"))
    return items, gaps


class ListBuilder:
    """Makes an ``Objects`` fact of the pages of its list."""

    def __init__(self, fact: type[Objects[Any]]) -> None:
        self._fact = fact
        self._what = fact.sources[0].key
        self._items: list[Any] = []
        self._gaps: list[Gap] = []
        self._scope = ""

    def feed(self, seen: Observation) -> None:
        """Take one page, or the error that came in its place."""
        self._scope = seen.scope or self._scope
        if seen.absent and not self._fact.installed:
            return
        if seen.error:
            self._gaps.append(Gap(seen.key, seen.error))
        else:
            items, gaps = read_page(clean_json(bytes(seen.body)), self._fact.item, self._what)
            self._items.extend(kept for item in items if (kept := self._fact.adapt(item)) is not None)
            self._gaps.extend(gaps)

    def finish(self) -> Fact:
        """The fact, with its gaps cut to a readable number."""
        return self._fact(items=once(self._items), gaps=fold_gaps(self._gaps), scope=self._scope)


def once(items: list[Any]) -> tuple[Any, ...]:
    """Each object as it came last: a server whose list went on from another state may send one again."""
    if len({item.name for item in items if item.name}) == len(items):
        return tuple(items)
    found = {(item.namespace, item.name) if item.name else id(item): item for item in items}
    return tuple(found.values())


def fold_gaps(gaps: list[Gap]) -> tuple[Gap, ...]:
    """At most five gaps a source, the last of which counts the others."""
    found: dict[str, list[str]] = {}
    for gap in gaps:
        found.setdefault(gap.source, []).append(gap.reason)
    return tuple(
        gap
        for source, reasons in sorted(found.items())
        for gap in [Gap(source, reason) for reason in list(dict.fromkeys(reasons))[:4]]
        + ([Gap(source, f"and {len(reasons) - 4:,} more: {listing(reasons[4:], 1)}")] if len(set(reasons)) > 4 else [])
    )
