"""What a run observed, kept small in memory, so that it can be saved as exactly what is on the screen."""

from __future__ import annotations

import dataclasses
import threading
import zlib
from pathlib import Path

from kdiag.errors import SnapshotError
from kdiag.model.observation import Observation

_MOST = 64 << 20


class Keep:
    """Takes observations from any thread; gives them all back, or none when they were too many to keep."""

    def __init__(self, most: int = _MOST) -> None:
        self._kept: list[Observation] = []
        self._size = 0
        self._most = most
        self._lock = threading.Lock()

    def take(self, seen: Observation) -> None:
        """Keep one, unless there is too much already."""
        if self._size > self._most:
            return
        body = zlib.compress(bytes(seen.body), 1) if seen.body else b""
        with self._lock:
            self._kept.append(dataclasses.replace(seen, body=body))
            self._size += len(body)
            if self._size > self._most:
                self._kept.clear()

    def save(self, folder: Path, notes: list[str]) -> int:
        """Write all to a new folder as a recording; how many values were redacted. Raises SnapshotError."""
        from kdiag.collect.snapshot import Recorder

        if self._size > self._most:
            raise SnapshotError(f"this cluster is too large to be kept in memory: kdiag record {folder} reads it again")
        if not self._kept:
            raise SnapshotError("there is nothing to save: this is a recording already")
        recorder = Recorder(folder)
        for seen in list(self._kept):
            recorder.take(dataclasses.replace(seen, body=zlib.decompress(seen.body) if seen.body else b""))
        recorder.finish(notes)
        return recorder.redacted
