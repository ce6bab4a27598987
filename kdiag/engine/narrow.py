"""One namespace of a recording of more: what a run over that namespace alone would have read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

from kdiag.engine.intake import known, sources
from kdiag.errors import UsageError
from kdiag.facts.base import ApiList
from kdiag.model.jsontext import read_object
from kdiag.model.observation import Observation
from kdiag.model.text import clean_line, nearest, shorten


def narrowed(seen: Iterable[Observation], namespace: str) -> Iterator[Observation]:
    """The same observations without the objects and logs of other namespaces.

    Raises UsageError for a namespace that the recording knows not to exist, or does not hold.
    """
    inside = {s.key for s in sources(known()) if isinstance(s, ApiList) and s.namespaced and not s.namespaces}
    names: list[str] | None = None
    for one in seen:
        if one.key == "log" and one.name:
            if one.name.startswith(f"{namespace}/"):
                yield one
        elif one.error or one.source != "api" or one.key not in (*inside, "run", "namespaces"):
            yield one
        elif one.key == "namespaces":
            names = [*(names or ()), *(_meta(item, "name") for item in _items(one))]
            yield one
        else:
            yield _narrow(one, namespace)
    if names is not None and namespace not in names:
        near = nearest(namespace, names)
        hint = f"; did you mean {near}?" if near else ""
        raise UsageError(f"namespace {shorten(clean_line(namespace), 100)} does not exist in the recording{hint}")


def _narrow(one: Observation, namespace: str) -> Observation:
    document = read_object(bytes(one.body))
    if one.key == "run":
        if (held := document.get("namespace")) and held != namespace:
            asked = clean_line(namespace)
            raise UsageError(f"the recording holds namespace {clean_line(str(held))} alone, not {asked}")
        return dataclasses.replace(one, body=json.dumps({**document, "namespace": namespace}).encode())
    if not isinstance(document.get("items"), list):
        return one  # who reads it says what is wrong with it
    kept = [item for item in document["items"] if _meta(item, "namespace") == namespace]
    return dataclasses.replace(one, scope=namespace, body=json.dumps({**document, "items": kept}).encode())


def _items(one: Observation) -> list[Any]:
    found = read_object(bytes(one.body)).get("items")
    return found if isinstance(found, list) else []


def _meta(item: Any, field: str) -> str:
    meta = item.get("metadata") if isinstance(item, dict) else None
    return str(meta.get(field) or "") if isinstance(meta, dict) else ""
