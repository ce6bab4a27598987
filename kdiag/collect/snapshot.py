"""A snapshot: a folder of observations, redacted on the way to disk, that any later version can read.

    DIR/kdiag-snapshot.json      what was asked, what came, the digest of each file; written last
    DIR/api/pods.0001.json       the pages of one list, as the API server sent them, less what was redacted
    DIR/log/0001.txt             a container's log

A recording that was cut short has no index and is refused. A file that was lost or changed afterwards is an
observation with an error: its checks are unknown, the others go on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from kdiag import __version__
from kdiag.errors import SnapshotError
from kdiag.model.jsontext import TooDeep, read_json
from kdiag.model.observation import Observation
from kdiag.model.redact import PREFIX, Redactor, names_a_secret
from kdiag.model.text import clean_line, shorten

INDEX = "kdiag-snapshot.json"
FORMAT = 1
_MOST_INDEX = 64 << 20
_MOST_FILE = 1 << 29
_PLAIN = re.compile(r"[^A-Za-z0-9._-]|^[.]+")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_SECRET_FLAG = ("--password", "--token", "--requirepass", "--secret", "--api-key", "--auth-token", "--client-secret")


class _Entry(msgspec.Struct):
    source: str
    key: str
    host: str = ""
    scope: str = ""
    name: str = ""
    file: str = ""
    sha256: str = ""
    error: str = ""
    absent: bool = False


class _Index(msgspec.Struct):
    format: int
    kdiag: str = ""
    id: str = ""
    recorded: str = ""
    redacted: int = 0
    notes: list[str] = []
    observations: list[_Entry] = []


class Recorder:
    """Writes observations into a new folder. Safe to call from several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._claimed = False
        try:
            used = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        except OSError as exc:
            raise SnapshotError(f"cannot write {shorten(str(folder), 200)}: {exc.strerror}") from exc
        if used:
            raise self._used()
        self._redactor = Redactor()
        self._entries: list[_Entry] = []
        self._lock = threading.Lock()

    @property
    def redacted(self) -> int:
        """How many values were replaced so far."""
        return self._redactor.count

    def take(self, seen: Observation) -> None:
        """Write one observation."""
        with self._lock:
            if seen.restart:
                self._entries = [e for e in self._entries if (e.source, e.key) != (seen.source, seen.key)]
                return
            entry = _Entry(
                seen.source, seen.key, seen.host, seen.scope, seen.name, error=seen.error, absent=seen.absent
            )
            self._entries.append(entry)
            if (seen.error or seen.absent) and not seen.body:
                return
            try:
                body, suffix = redact(bytes(seen.body), self._redactor)
            except TooDeep as exc:
                entry.error = seen.error or f"it was not recorded: {exc}"
                return
            number = sum(e.key == seen.key and e.host == seen.host for e in self._entries)
            folder = _PLAIN.sub("_", f"node-{seen.host}" if seen.source == "node" else seen.source)[:80]
            entry.file = f"{folder}/{_PLAIN.sub('_', seen.key)[:60]}.{number:04d}.{suffix}"
            entry.sha256 = hashlib.sha256(body).hexdigest()
            self._write(entry.file, body)

    def finish(self, notes: list[str]) -> None:
        """Write the index: only now is the recording one."""
        index = {
            "format": FORMAT,
            "kdiag": __version__,
            "id": secrets.token_hex(8),
            "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
            "redacted": self._redactor.count,
            "notes": notes,
            "observations": [
                {k: v for k, v in msgspec.to_builtins(e).items() if v not in ("", False)} for e in self._entries
            ],
        }
        self._write(INDEX, (json.dumps(index, indent=1) + "\n").encode())

    def _write(self, name: str, body: bytes) -> None:
        path = self.folder / name
        try:
            self._claim()
            path.parent.mkdir(exist_ok=True, mode=0o700)
            partial = path.with_name(path.name + ".part")
            fresh = 0 if name == INDEX else os.O_CREAT | os.O_EXCL  # that of the index is the claim
            with open(os.open(partial, os.O_WRONLY | fresh, 0o600), "wb") as out:
                out.write(body)
            partial.replace(path)
        except OSError as exc:
            raise SnapshotError(f"cannot write {path}: {exc.strerror}") from exc

    def _claim(self) -> None:
        """Make the folder ours alone: of two recordings into one, the second ends before it writes anything."""
        if self._claimed:
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        mark = self.folder / f"{INDEX}.part"
        try:
            os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise self._used() from None
        if any(each != mark for each in self.folder.iterdir()):
            mark.unlink()
            raise self._used()
        self._claimed = True

    def _used(self) -> SnapshotError:
        return SnapshotError(f"{self.folder} exists and is not an empty folder: name a new one")


def redact(body: bytes, redactor: Redactor) -> tuple[bytes, str]:
    """The body without credentials, and the suffix of its file.

    Raises TooDeep for a document that is nested without end: as mere text it would keep what only its fields tell to
    be a credential.
    """
    try:
        document = _redacted(read_json(body), redactor)
    except RecursionError:
        raise TooDeep from None
    except TooDeep:
        raise
    except ValueError:
        return redactor.text(body.decode("utf-8", "replace")).encode(), "txt"
    return json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode(), "json"


def _redacted(value: Any, redactor: Redactor, name: str = "") -> Any:
    if isinstance(value, str):
        return redactor.value(name, value) if name or len(value) > 3 else value
    if isinstance(value, list):
        if value and all(isinstance(v, str) for v in value):
            return _arguments(value, redactor)
        return [_redacted(v, redactor) for v in value]
    if not isinstance(value, dict):
        return value
    if value.get("kind") == "Secret" and ("data" in value or "stringData" in value):
        redactor.count += 1
        return {k: v for k, v in value.items() if k not in ("data", "stringData")}
    found: dict[str, Any] = {}
    own_name = value.get("name") if isinstance(value.get("name"), str) and isinstance(value.get("value"), str) else ""
    for key, inner in value.items():
        if key == _LAST_APPLIED:
            redactor.count += 1  # it repeats the object, credentials included
        elif key == "managedFields" and isinstance(inner, list):
            found[key] = [{k: v for k, v in f.items() if k != "fieldsV1"} for f in inner if isinstance(f, dict)]
        elif key == "value" and own_name:
            found[key] = redactor.value(str(own_name), inner)
        elif key in ("data", "binaryData") and isinstance(inner, dict):
            found[key] = {
                k: PREFIX + "binary>" if key == "binaryData" else _redacted(v, redactor, k) for k, v in inner.items()
            }
        elif isinstance(inner, str) and key in ("token", "password", "client-key-data", "client-certificate-data"):
            found[key] = redactor.token(inner)
        else:
            found[key] = _redacted(inner, redactor)
    return found


def _arguments(words: list[str], redactor: Redactor) -> list[str]:
    found: list[str] = []
    after = ""
    for word in words:
        flag, equals, text = word.partition("=")
        if after:
            found.append(redactor.token(word))
            after = ""
        elif equals and text and flag.startswith("-") and (flag in _SECRET_FLAG or names_a_secret(flag)):
            found.append(f"{flag}={redactor.token(text)}")
        else:
            after = flag if flag in _SECRET_FLAG and not equals else ""
            found.append(redactor.text(word))
    return found


class Snapshot:
    """A recording on disk. Raises SnapshotError for a folder that is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / INDEX
        try:
            if not folder.is_dir():
                packed = "; unpack it first" if folder.is_file() else ""
                raise SnapshotError(f"{folder} is not a folder: --snapshot takes what `kdiag record DIR` wrote{packed}")
            if not path.is_file():
                raise SnapshotError(
                    f"{folder} holds no {INDEX}: it is no recording, or the recording did not come to its end"
                )
            if path.stat().st_size > _MOST_INDEX:
                raise SnapshotError(f"{path} is larger than {_MOST_INDEX >> 20} MiB")
            self._index = msgspec.json.decode(path.read_bytes(), type=_Index)
        except OSError as exc:
            raise SnapshotError(f"cannot read {path}: {exc.strerror}") from exc
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            raise SnapshotError(f"{path} is damaged: {shorten(clean_line(str(exc)), 120)}") from exc
        if self._index.format > FORMAT:
            later = shorten(clean_line(self._index.kdiag), 40) or "of an unknown version"
            raise SnapshotError(
                f"{folder} was recorded by a later kdiag, {later}, in format "
                f"{shorten(str(self._index.format), 20)}; this is {__version__}, which reads up to format {FORMAT}"
            )

    @property
    def notes(self) -> list[str]:
        """What the recording run had to say of itself."""
        return [clean_line(note) for note in self._index.notes]

    def observations(self) -> Iterator[Observation]:
        """All observations, in the order in which they were made."""
        root = self.folder.resolve()
        for e in self._index.observations:
            plain = Observation(e.source, e.key, e.host, e.scope, e.name, error=clean_line(e.error), absent=e.absent)
            if not e.file:
                yield plain
                continue
            body, reason = self._read(root, e)
            yield dataclasses.replace(plain, body=body, error=plain.error or reason)

    def _read(self, root: Path, e: _Entry) -> tuple[bytes, str]:
        path = root / e.file
        name = shorten(clean_line(e.file), 120)
        try:
            if not path.resolve().is_relative_to(root):
                return b"", f"{name} lies outside of the snapshot"
            if not path.is_file():
                return b"", f"{name} is missing from the snapshot"
            if path.stat().st_size > _MOST_FILE:
                return b"", f"{name} is larger than {_MOST_FILE >> 20} MiB"
            body = path.read_bytes()
        except OSError as exc:
            return b"", f"{name} cannot be read: {exc.strerror}"
        except ValueError:  # a NUL in its name
            return b"", f"{name} names no file"
        except RuntimeError:  # what Python before 3.13 says of links in a circle
            return b"", f"{name} cannot be read: Too many levels of symbolic links"
        if hashlib.sha256(body).hexdigest() != e.sha256:
            return b"", f"{name} is not the file that was recorded (its digest differs)"
        return body, ""


def write(folder: Path, observations: Iterator[Observation], notes: Mapping[str, str] | None = None) -> None:
    """Write observations as a snapshot."""
    recorder = Recorder(folder)
    for seen in observations:
        recorder.take(seen)
    recorder.finish(list(notes.values()) if notes else [])
