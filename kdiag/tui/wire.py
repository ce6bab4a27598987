"""Values over a pair of pipes, between the screen and the process that reads for it. Both ends are kdiag's own."""

from __future__ import annotations

import functools
import io
import os
import pickle
import struct
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdiag.check import Check

_LENGTH = struct.Struct("!Q")


class Channel:
    """One end. Any thread may send; one thread receives."""

    def __init__(self, reads: int, writes: int) -> None:
        self._in = os.fdopen(reads, "rb", buffering=1 << 16)
        self._out = os.fdopen(writes, "wb", buffering=0)
        self._lock = threading.Lock()

    def send(self, value: object) -> None:
        """Write one value; a reader that is gone is no error: nobody wants to know any more."""
        buffer = io.BytesIO()
        _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
        body = memoryview(_LENGTH.pack(buffer.tell()) + buffer.getvalue())
        with self._lock:
            try:
                while body:
                    body = body[self._out.write(body) :]
            except (OSError, ValueError):
                return

    def receive(self) -> Any:
        """The next value. Raises EOFError at the end."""
        try:
            head = self._in.read(_LENGTH.size)
            if len(head) < _LENGTH.size:
                raise EOFError
            size = _LENGTH.unpack(head)[0]
            body = self._in.read(size)
        except (OSError, ValueError):
            raise EOFError from None
        if len(body) < size:
            raise EOFError
        return pickle.loads(body)  # noqa: S301  (a pipe to a process that kdiag itself started)

    def close(self) -> None:
        """Let the pipes go."""
        for end in (self._in, self._out):
            try:
                end.close()
            except OSError:
                continue


class _Pickler(pickle.Pickler):
    """A check goes over as what there is to know about it: its function stays where it is run."""

    def reducer_override(self, value: Any) -> Any:
        from kdiag.check import Check

        if isinstance(value, Check):
            about = (value.id, value.title, value.summary, int(value.severity), int(value.layer), value.tags)
            return _described, about
        return NotImplemented


@functools.cache
def _described(id: str, title: str, summary: str, severity: int, layer: int, tags: tuple[str, ...]) -> Check:
    from kdiag.check import Check, Layer
    from kdiag.model.result import Severity

    return Check(
        id=id,
        title=title,
        summary=summary,
        severity=Severity(severity),
        layer=Layer(layer),
        explains=(),
        explains_here=(),
        tags=tags,
        namespaces=(),
        run=_elsewhere,
        needs={},
        wants={},
    )


def _elsewhere(**facts: object) -> Any:
    raise NotImplementedError("a check runs in the process that reads")
