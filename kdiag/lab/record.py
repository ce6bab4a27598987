"""What a lab has changed, and how it went: on disk before anything is touched, so that a crash loses nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from kdiag.collect.settings import state_folder
from kdiag.errors import LabError

Phase = Literal["starting", "running", "stopping"]


class Change(msgspec.Struct, kw_only=True):
    """One change, with what is needed to take it back. It is written before it is made."""

    number: int
    scenario: str
    #: namespace, object, file, unit, sysctl, firewall, command
    kind: str
    #: The object, path, unit or key.
    what: str
    node: str = ""
    #: An object as it was; None when there was none.
    before: dict[str, Any] | None = None
    #: What the undoing wants to know besides: the unit to restart, the rule, the command.
    detail: dict[str, str] = {}
    #: Whether it is in a namespace of the lab's own, and goes with it.
    own: bool = False
    undone: bool = False


class Task(msgspec.Struct, kw_only=True):
    """One scenario of a session, and how far the student is."""

    scenario: str
    seed: int
    values: dict[str, Any]
    hints: int = 0
    passed: list[bool] = []
    held: list[bool] = []  # which lines of the proof held when it was broken: they must go on, and give nothing
    solved: float | None = None
    shown: bool = False  # whether the solution was asked for


class Session(msgspec.Struct, kw_only=True):
    """What runs now: one scenario, several, or an exam."""

    id: str
    server: str
    context: str
    #: The nodes with their addresses: when the API server is dead, nobody else knows them.
    machines: dict[str, list[str]]
    phase: Phase
    started: float
    minutes: int
    exam: bool = False
    tasks: list[Task] = []
    changes: list[Change] = []


class Attempt(msgspec.Struct, kw_only=True):
    """A session that is over, as the history keeps it."""

    id: str
    exam: bool
    started: float
    ended: float
    minutes: int
    score: float
    tasks: list[dict[str, Any]]


class Store:
    """The lab's folder among kdiag's state."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.folder = state_folder(environ) / "lab"
        self._session = self.folder / "session.json"
        self._history = self.folder / "history.json"

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lab, so that two commands do not change it at once. Raises LabError when another one does."""
        self._made()
        with open(self.folder / "lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise LabError("another kdiag lab command is at work; wait until it is done") from None
            yield

    def session(self) -> Session | None:
        """What runs now; None when nothing does. Raises LabError for a file that cannot be read."""
        found: Session | None = self._read(self._session, Session)
        return found

    def save(self, session: Session) -> None:
        """Write what runs now, and have it on disk before returning."""
        self._write(self._session, session)

    def forget(self) -> None:
        """Nothing runs any more."""
        self._session.unlink(missing_ok=True)

    def history(self) -> list[Attempt]:
        """The sessions that are over, the oldest first."""
        return self._read(self._history, list[Attempt]) or []

    def remember(self, attempt: Attempt) -> None:
        """Add a session to the history; a second time changes nothing."""
        kept = self.history()
        if all(a.id != attempt.id for a in kept):
            self._write(self._history, [*kept, attempt])

    def _made(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise LabError(f"cannot write to {self.folder}: {exc.strerror}") from None

    def _read(self, path: Path, kind: Any) -> Any:
        try:
            if path.exists() and not path.is_file():
                raise LabError(f"{path} is no file; move it away if nothing is to be restored")
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise LabError(f"cannot read {path}: {exc.strerror}") from None
        except (msgspec.DecodeError, RecursionError) as exc:
            raise LabError(f"{path} cannot be read ({exc}); move it away if nothing is to be restored") from None

    def _write(self, path: Path, value: object) -> None:
        self._made()
        partial = path.with_suffix(f".{os.getpid()}.part")
        try:
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(value), indent=1))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as exc:
            raise LabError(f"cannot write {path}: {exc.strerror}") from None
