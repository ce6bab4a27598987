"""One kubeconfig file as YAML: an error names its line, and a bomb is refused before it goes off."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from kdiag.collect.fields import Fields, kind_of, one_line
from kdiag.errors import ConfigError

# libyaml composes recursively and ends the process when the nesting is deep; no kubeconfig comes near this.
_DEPTH_LIMIT = 100
# Aliases share what they name, but each merge key (<<) copies it: 32 of them multiply a file at most 100,000 times.
_MERGE_LIMIT = 32
_ALIAS_LIMIT = 10_000


def parse(data: bytes, path: Path) -> Fields | None:
    """The first document of a kubeconfig; None when there is nothing but blanks and comments in it."""
    where = f"kubeconfig {one_line(str(path))}"
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise ConfigError(f"{where}, line {line}: this is not text; is it a binary file?") from None
    if not text.strip():
        return None
    try:
        _refuse_bombs(text, where)
        value = _loaded(text)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        # libyaml puts what is missing at the end on the line after the last.
        if "nesting depth" in str(exc.problem):  # libyaml's own limit, from 0.2.6 on
            raise _too_deep(where, mark.line + 1 if mark else 1) from None
        at = f", line {min(mark.line, text.rstrip().count(chr(10))) + 1}" if mark else ""
        reason = one_line(str(exc.problem or exc.context or "it is cut short"), 120)
        raise ConfigError(f"{where}{at}: this is not YAML ({reason}); was the file written whole?") from None
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        raise ConfigError(
            f"{where}, line {line}: there is a character that YAML forbids; is it a binary file?"
        ) from None
    except (RecursionError, ValueError, TypeError, yaml.YAMLError) as exc:
        if "set_int_max_str_digits" in str(exc):
            raise ConfigError(f"{where} holds a number of more digits than a number may have") from None
        raise ConfigError(f"{where} cannot be read as YAML: {one_line(str(exc), 120)}") from None
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} is no kubeconfig: it holds {kind_of(value)}, not a mapping")
    return Fields(value, where, Path(os.path.abspath(path)).parent)


def _loaded(text: str) -> object:
    """The first document. No garbage is looked for meanwhile: among 100,000 contexts that takes thrice the time."""
    loader, collecting = _Loader(text), gc.isenabled()
    gc.disable()
    try:
        return loader.get_data() if loader.check_data() else None
    finally:
        loader.dispose()
        if collecting:
            gc.enable()


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # whichever is there
    """YAML without dates: a context may be called 2024-01-01."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own name and shape
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _too_deep(where: str, line: int) -> ConfigError:
    return ConfigError(f"{where}, line {line}: nested more than {_DEPTH_LIMIT} deep; this is no kubeconfig")


def _refuse_bombs(text: str, where: str) -> None:
    """A file of a kilobyte can describe gigabytes, or nest until the parser dies; look at its events first."""
    if "*" not in text:
        # Each level takes a bracket, or another column at the left: most files need no second look.
        columns = max(map(len, re.findall(r"(?m)^[ ?-]+", text)), default=0)
        if 2 * columns + text.count("[") + text.count("{") < _DEPTH_LIMIT:
            return
    depth = aliases = merges = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        elif isinstance(event, yaml.ScalarEvent) and event.value == "<<":
            merges += 1
        line = event.start_mark.line + 1 if event.start_mark else 0
        if depth > _DEPTH_LIMIT:
            raise _too_deep(where, line)
        if aliases > _ALIAS_LIMIT or (merges and aliases > _MERGE_LIMIT):
            raise ConfigError(f"{where}, line {line}: too many YAML aliases ({aliases}); this is no kubeconfig")
