"""Steps of a runbook page answered from a recording: nothing is asked of any cluster."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, unquote

from kdiag.collect.deadline import Deadline
from kdiag.collect.execute import Executor
from kdiag.collect.kubectl import StandIn
from kdiag.collect.shell import Shell
from kdiag.collect.snapshot import Snapshot
from kdiag.engine import jsonpath
from kdiag.engine.intake import known, sources
from kdiag.engine.runbook import Kind, Outcome, Step
from kdiag.engine.shell import filled
from kdiag.errors import BadAnswer
from kdiag.facts.base import ApiList
from kdiag.model.jsontext import read_object
from kdiag.model.result import Finding
from kdiag.model.text import clean

_NEEDS = "needs the cluster; the recording does not hold it"
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) ", re.MULTILINE)


class Replay:
    """Runs steps against a recording. What the finding's own evidence shows for a command is its answer."""

    def __init__(self, snapshot: Snapshot, finding: Finding | None) -> None:
        self._finding = finding
        held = _Held(snapshot)
        self._executor = Executor(
            environ={"PATH": "/usr/local/bin:/usr/bin:/bin"},
            kubectl="",
            stand_in=lambda: StandIn(held, lacking=_NEEDS),
            node=_no_node,
            label="recording",
        )

    def run(self, step: Step, values: Mapping[str, str]) -> Outcome:
        """As ``Runs.run``."""
        if step.kind is Kind.RUN and (shown := self._evidence(filled(step.command, values))):
            return Outcome(lines=tuple(clean(shown).split("\n")), status=0, via="recording")
        return self._executor.run(step, values)

    def close(self) -> None:
        """Let go of the recording."""
        self._executor.close()

    def _evidence(self, command: str) -> str:
        """What the finding says that this very command shows."""
        for evidence in self._finding.evidence if self._finding else ():
            if evidence.command and _same(command, evidence.command, evidence.source):
                return evidence.shown
        return ""


def _same(command: str, shown: str, source: str) -> bool:
    try:
        words, other = shlex.split(command), shlex.split(shown)
    except ValueError:
        return False
    if source != "api":
        other = ["ssh", source, *other]
    return _bare(words) == _bare(other)


def _bare(words: list[str]) -> list[str]:
    return [word for word in words if word not in ("sudo", "--no-pager")]


def _no_node(host: str) -> Shell:
    raise BadAnswer(f"needs node {host}; the recording does not hold it")


class _Held:
    """The API as it was recorded: objects and logs, but no tables."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @cached_property
    def _lists(self) -> Mapping[tuple[str, str], str]:
        return {(s.group_version, s.resource): s.key for s in sources(known()) if isinstance(s, ApiList)}

    @cached_property
    def _observed(self) -> Mapping[str, list[tuple[str, bytes, str]]]:
        found: dict[str, list[tuple[str, bytes, str]]] = {}
        for seen in self._snapshot.observations():
            if seen.source == "api":
                found.setdefault(seen.key, []).append((seen.name, bytes(seen.body), seen.error))
        return found

    def close(self) -> None:
        """Nothing is held open."""

    def get(self, path: str, accept: str, deadline: Deadline) -> tuple[str, int]:
        """A recorded object, list or log in the form of the API."""
        plain, _, query = path.partition("?")
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        match = re.fullmatch(
            r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+/[^/]+))(?:/namespaces/(?P<ns>[^/]+)(?=/))?"
            r"/(?P<resource>[a-z]+)(?:/(?P<name>[^/]+)(?P<log>/log)?)?",
            plain,
        )
        if match is None or "as=Table" in accept:
            raise BadAnswer(f"this {_NEEDS}")
        name, namespace = unquote(match["name"] or ""), unquote(match["ns"] or "")
        if match["log"]:
            return self._log(f"{namespace}/{name}/{asked.get('container', '')}", "previous" in asked)
        key = self._lists.get((match["core"] or match["group"], match["resource"]))
        if key is None or key not in self._observed:
            raise BadAnswer(f"{match['resource']} {_NEEDS}")
        items = [item for item in self._items(key) if _within(item, namespace, name)]
        if not name:
            kept = [i for i in items if _selected(i, asked.get("labelSelector", ""), asked.get("fieldSelector", ""))]
            return json.dumps({"kind": "List", "items": kept}), 200
        if items:
            return json.dumps(items[0]), 200
        return json.dumps({"reason": "NotFound", "message": f'{match["resource"]} "{name}" not found'}), 404

    def _items(self, key: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for _, body, error in self._observed[key]:
            if error:
                raise BadAnswer(f"{key} {_NEEDS}: {error}")
            document = read_object(body)
            items = document.get("items") or []
            if not document or not isinstance(items, list):
                raise BadAnswer(f"{key} cannot be read in this recording")
            found += [item for item in items if isinstance(item, dict)]
        return found

    def _log(self, place: str, previous: bool) -> tuple[str, int]:
        wanted = f"{place}/{'previous' if previous else 'current'}"
        for name, body, error in self._observed.get("log", ()):
            if name == wanted and not error:
                return _STAMP.sub("", body.decode("utf-8", "replace")), 200
        raise BadAnswer(f"the log of {place} {_NEEDS}")


def _within(item: Mapping[str, Any], namespace: str, name: str) -> bool:
    meta = item.get("metadata") or {}
    return (not namespace or meta.get("namespace") == namespace) and (not name or meta.get("name") == name)


def _selected(item: Mapping[str, Any], labels: str, fields: str) -> bool:
    own = (item.get("metadata") or {}).get("labels") or {}
    for term in filter(None, labels.split(",")):
        match = re.fullmatch(r"([\w./-]+)(==?|!=)([\w.-]*)", term)
        if match is None:
            raise BadAnswer(f"selecting by {term} {_NEEDS}")
        if (own.get(match[1]) == match[3]) != (match[2] != "!="):
            return False
    for term in filter(None, fields.split(",")):
        match = re.fullmatch(r"([\w.]+)(==?|!=)(.*)", term)
        if match is None:
            raise BadAnswer(f"selecting by {term} {_NEEDS}")
        found = jsonpath.find(f".{match[1]}", item)
        if (bool(found) and str(found[0]) == match[3]) != (match[2] != "!="):
            return False
    return True
