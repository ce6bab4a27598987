"""kubectl's JSONPath, as far as runbook pages use it: fields, lists, filters and ranges."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_MOST = 200_000


class PathError(Exception):
    """A template that is not understood; half a sentence."""


def render(template: str, value: Any) -> str:
    """What ``-o jsonpath=TEMPLATE`` prints of a value. Raises PathError for a template that it does not understand."""
    pieces = list(_pieces(template))
    text, rest = _rendered(pieces, 0, value)
    if rest != len(pieces):
        raise PathError("{end} without {range}")
    return text


def find(path: str, value: Any) -> list[Any]:
    """All values at a path such as ``.spec.containers[*].name``."""
    found = [value]
    for step in _steps(path):
        found = [inner for outer in found for inner in _taken(step, outer)]
        if len(found) > _MOST:
            raise PathError("it finds too much")
    return found


@dataclass(frozen=True, slots=True)
class _Piece:
    kind: str  # text, path, range, end
    text: str = ""


def _pieces(template: str) -> Iterator[_Piece]:
    at = 0
    while at < len(template):
        if template[at] != "{":
            end = template.find("{", at)
            end = len(template) if end < 0 else end
            yield _Piece("text", template[at:end])
            at = end
            continue
        end = _closing(template, at)
        inner = template[at + 1 : end].strip()
        at = end + 1
        if inner == "end":
            yield _Piece("end")
        elif inner.startswith("range "):
            yield _Piece("range", inner[6:].strip())
        elif inner[:1] in "\"'" and inner[-1:] == inner[:1] and len(inner) > 1:
            yield _Piece("text", re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), inner[1:-1]))
        else:
            yield _Piece("path", inner)


def _closing(template: str, at: int) -> int:
    quote = ""
    for place in range(at + 1, len(template)):
        char = template[place]
        if quote:
            quote = "" if char == quote and template[place - 1] != "\\" else quote
        elif char in "\"'":
            quote = char
        elif char == "}":
            return place
    raise PathError("a brace has no end")


def _rendered(pieces: Sequence[_Piece], at: int, value: Any) -> tuple[str, int]:
    text = ""
    while at < len(pieces):
        piece = pieces[at]
        match piece.kind:
            case "text":
                text += piece.text
            case "path":
                text += " ".join(_shown(found) for found in find(piece.text, value))
            case "end":
                return text, at
            case "range":
                inner = at + 1
                items = find(piece.text, value)
                _, end = _rendered(pieces, inner, None)
                if end >= len(pieces):
                    raise PathError("{range} without {end}")
                for item in items:
                    text += _rendered(pieces, inner, item)[0]
                at = end
        at += 1
    return text, at


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


_STEP = re.compile(
    r"\.(?P<field>(?:[A-Za-z0-9_$/-]|\\.)+|\*)"
    r"|\[(?P<index>-?[0-9]{1,6})\]"
    r"|\[(?P<all>\*)\]"
    r"|\[['\"](?P<quoted>[^'\"]+)['\"]\]"
    r"|\[\?\(@(?P<path>(?:\.(?:[A-Za-z0-9_/-]|\\.)+)+)\s*(?:(?P<sign>==|!=)\s*(?P<value>\"[^\"]*\"|'[^']*'|[A-Za-z0-9.]+))?\s*\)\]"
)


def _steps(path: str) -> Iterator[re.Match[str]]:
    at = 0
    text = path.removeprefix("$").removeprefix("@")
    text = text if text.startswith((".", "[")) or not text else f".{text}"
    if text == ".":
        return
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            raise PathError(f"{path[:60]!r} is not understood")
        yield match
        at = match.end()


def _taken(step: re.Match[str], value: Any) -> list[Any]:
    name = step["quoted"] or (re.sub(r"\\(.)", r"\1", step["field"]) if step["field"] else "")
    if step["all"] or name == "*":
        return list(value) if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    if name:
        return [value[name]] if isinstance(value, dict) and name in value else []
    if step["index"]:
        number = int(step["index"])
        return [value[number]] if isinstance(value, list) and -len(value) <= number < len(value) else []
    return [item for item in value if _passes(step, item)] if isinstance(value, list) else []


def _passes(step: re.Match[str], item: Any) -> bool:
    found = find(step["path"], item)
    if not step["sign"]:
        return bool(found)
    wanted = step["value"].strip("\"'")
    same = any(_shown(value) == wanted for value in found)
    return same if step["sign"] == "==" else bool(found) and not same
