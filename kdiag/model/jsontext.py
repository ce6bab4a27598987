"""JSON from a cluster, a node or a file: it may be cut, be something else, or be nested without end."""

from __future__ import annotations

import json
from typing import Any


class TooDeep(ValueError):
    """The text may be JSON, but it is nested deeper than anybody means it."""

    def __init__(self) -> None:
        super().__init__("it is nested too deeply")


def read_json(text: str | bytes) -> Any:
    """What a JSON text holds. Raises ValueError for every text that cannot be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise TooDeep from None


def read_object(text: str | bytes) -> dict[str, Any]:
    """The object that a JSON text holds; empty for every other text."""
    try:
        found = read_json(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def first_object(text: str) -> dict[str, Any] | None:
    """The object that begins at the first brace, whatever a program said before and after it."""
    start = text.find("{")
    try:
        found = json.JSONDecoder().raw_decode(text, start)[0] if start >= 0 else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
