"""Small files that a person wrote, read field by field: what is wrong in one is an error that names the place."""

from __future__ import annotations

import base64
import binascii
import os
import selectors
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdiag.errors import ConfigError
from kdiag.model.text import clean, shorten

FILE_LIMIT = 16 << 20
_PIPE_SECONDS = 5.0


def one_line(text: str, width: int = 200) -> str:
    """Text of unknown origin, fit for the middle of an error line."""
    return shorten(clean(" ".join(text.split())), width)


def quoted(name: str) -> str:
    """A name in quotes, on one line."""
    return f'"{one_line(name, 80)}"'


def in_seconds(seconds: float) -> str:
    """A time limit, for people."""
    return f"{max(0.1, round(seconds, 1)):g} s" if seconds < 10 else f"{seconds:.0f} s"


def read_file(path: Path, what: str) -> bytes:
    """The whole of a small file that a configuration names.

    A pipe is read too (``--kubeconfig <(...)``), and one that nobody writes to does not hang.
    """
    try:
        # Opening a pipe without a writer waits for one, unless asked not to.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = _read_descriptor(descriptor)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise ConfigError(f"{what} {one_line(str(path))} does not exist") from None
    except IsADirectoryError:
        raise ConfigError(f"{what} {one_line(str(path))} is a directory, not a file") from None
    except TimeoutError:
        raise ConfigError(f"{what} {one_line(str(path))} is a pipe that nothing was written to") from None
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise ConfigError(f"{what} {one_line(str(path))} cannot be read: {one_line(reason)}") from exc
    if len(data) > FILE_LIMIT:
        raise ConfigError(f"{what} {one_line(str(path))} is larger than {FILE_LIMIT >> 20} MiB; is it the right file?")
    return data


def _read_descriptor(descriptor: int) -> bytes:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError
    data = bytearray()
    ends = time.monotonic() + _PIPE_SECONDS
    with selectors.DefaultSelector() as selector:
        if stat.S_ISFIFO(mode):
            selector.register(descriptor, selectors.EVENT_READ)
        while len(data) <= FILE_LIMIT:
            if selector.get_map() and not selector.select(max(0.0, ends - time.monotonic())):
                raise TimeoutError
            chunk = os.read(descriptor, 1 << 20)
            if not chunk:
                break
            data += chunk
    return bytes(data)


class Fields:
    """One mapping of a configuration file: each field is read as the type that it must have, or is a ConfigError.

    Absent and null are the same, as they are to kubectl. Relative paths start at ``folder``.
    """

    def __init__(self, values: Mapping[Any, object], where: str, folder: Path) -> None:
        self.values = values
        self.where = where
        self.folder = folder

    def __repr__(self) -> str:
        return f"<{self.where}>"

    def _wrong(self, key: str, wanted: str, value: object) -> ConfigError:
        return ConfigError(f"{self.where}: {key} must be {wanted}, not {kind_of(value)}")

    def text(self, key: str) -> str:
        """A string; "" when it is not there."""
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(key, "text", value)
        return value

    def flag(self, key: str) -> bool:
        """True or false; false when it is not there."""
        value = self.values.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def items(self, key: str) -> Sequence[object]:
        """A list of anything; empty when it is not there."""
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            raise self._wrong(key, "a list", value)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        found = []
        for item in self.items(key):
            if not isinstance(item, str):
                raise self._wrong(key, "a list of texts", item)
            found.append(item)
        return tuple(found)

    def section(self, key: str) -> Fields | None:
        """A mapping below this one; None when it is not there."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self._wrong(key, "a mapping", value)
        return Fields(value, f"{self.where}, {key}", self.folder)

    def sections(self, key: str) -> tuple[Fields, ...]:
        """A list of mappings; a null in it is an empty one."""
        found = []
        for number, item in enumerate(self.items(key), start=1):
            if item is not None and not isinstance(item, Mapping):
                raise self._wrong(f"item {number} of {key}", "a mapping", item)
            found.append(Fields(item or {}, f"{self.where}, {key}[{number - 1}]", self.folder))
        return tuple(found)

    def path(self, key: str) -> Path | None:
        """A file that this one names."""
        value = self.text(key)
        return self.folder / value if value else None

    def data(self, key: str) -> bytes | None:
        """Base64, decoded."""
        value = self.text(key)
        if not value:
            return None
        try:
            return base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError):
            raise ConfigError(f"{self.where}: {key} is not whole base64; was the file cut short?") from None


def kind_of(value: object) -> str:
    """What a value of a YAML file is called in an error."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"{str(value).lower()} (put quotes around it if it is text)"
        case int() | float():
            return f"the number {one_line(str(value), 40)} (put quotes around it if it is text)"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a mapping"
        case _:
            return type(value).__name__
