"""Files of a node, as ``find`` lists them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

#: What ``find -printf`` says of each file: its kind, size, time, mode, owner, path and where a link leads.
LISTED = r"%y\t%Y\t%s\t%T@\t%m\t%U\t%p\t%l\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """One file of a node, as ``find`` shows it; ``kind`` is f, d, p, s …, that of the target for a link."""

    path: str
    kind: str = "f"
    link: str = ""
    size: int = 0
    changed: datetime | None = None
    mode: str = ""
    owner: str = ""

    @property
    def there(self) -> bool:
        """Whether there is anything, and not just a link to nowhere."""
        return self.kind not in ("N", "L", "l", "?")

    @property
    def noun(self) -> str:
        """What it is, for a sentence."""
        kinds = {"f": "a file", "d": "a folder", "p": "a pipe", "s": "a socket", "b": "a device", "c": "a device"}
        return kinds.get(self.kind, f"a link to {self.link}, which is not there" if self.link else "a broken link")


def listed(text: str) -> Iterator[FileInfo]:
    """The files that ``find`` listed in that format."""
    for line in text.splitlines():
        parts = line.split("\t")
        if len(parts) < 7 or not parts[6].startswith("/"):
            continue
        own, target, size, changed, mode, owner, path = parts[:7]
        link = parts[7] if len(parts) > 7 else ""
        yield FileInfo(
            path=path.rstrip("/") or "/",
            kind=target if own == "l" else own,
            link=link if own == "l" else "",
            size=int(size) if size.isdecimal() and len(size) < 19 else 0,
            changed=_moment(changed),
            mode=mode,
            owner=owner,
        )


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        return None
