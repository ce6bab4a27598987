"""kdiag's own configuration, and the folder where it remembers.

# ~/.config/kdiag/config.yaml
ssh_config: ~/clusters/prod.ssh     # as --ssh-config
nodes:                              # for when the API server cannot be asked
  - cp1                             # a Host of the SSH configuration
  - {name: w1, address: 10.0.0.12, user: ops, port: 22, identity_file: ~/.ssh/ops, jump: bastion}
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdiag.collect.fields import read_file
from kdiag.collect.paths import expanded, user_folder
from kdiag.errors import ConfigError
from kdiag.model.jsontext import read_object
from kdiag.model.text import clean_line, shorten

_MOST = 1 << 20
#: How often, and for how many seconds each time, a run waits for another one that keeps something, too.
_TURNS, _TURN = 100, 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSetting:
    """One node of the configuration."""

    name: str
    address: str = ""
    user: str = ""
    port: int = 0
    identity_file: str = ""
    jump: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The configuration file; all empty when there is none."""

    path: str = ""
    ssh_config: str = ""
    nodes: tuple[NodeSetting, ...] = ()


_INVENTORY = "inventory"


def load(environ: Mapping[str, str]) -> Settings:
    """Read the file of KDIAG_CONFIG, or that of the user. Raises ConfigError for one that makes no sense."""
    named = environ.get("KDIAG_CONFIG", "")
    if named:
        path = expanded(named, environ)
    else:
        path = user_folder(environ, "XDG_CONFIG_HOME", ".config") / "kdiag" / "config.yaml"
    try:
        path.stat()
    except OSError as exc:
        # The home may be another's: containers and cron leave HOME at that of root.
        if not named:
            return Settings()
        why = "which does not exist" if isinstance(exc, FileNotFoundError) else f"and it cannot be read: {exc.strerror}"
        raise ConfigError(f"KDIAG_CONFIG names {path}, {why}") from exc
    import yaml

    from kdiag.collect.fields import read_file

    data = read_file(path, "configuration")
    if len(data) > _MOST:
        raise ConfigError(f"{path} is larger than {_MOST >> 20} MiB")
    try:
        document = yaml.safe_load(data.decode("utf-8-sig"))
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, KeyError) as exc:
        raise ConfigError(f"{path} is no YAML: {shorten(clean_line(str(exc)), 160)}") from exc
    if document is None:
        return Settings(path=str(path))
    if not isinstance(document, dict):
        raise ConfigError(f"{path} is no mapping: write  nodes: [...]")
    unknown = sorted(set(map(str, document)) - {"nodes", "ssh_config"})
    if unknown:
        raise ConfigError(f"{path}: {clean_line(unknown[0])!r} is not a setting; there are nodes and ssh_config")
    nodes = document.get("nodes") or []
    if not isinstance(nodes, list):
        raise ConfigError(f"{path}: nodes is no list")
    return Settings(
        path=str(path),
        ssh_config=_text(document, "ssh_config", path),
        nodes=tuple(_node(node, path) for node in nodes),
    )


def _node(node: Any, path: Path) -> NodeSetting:
    if isinstance(node, str) and node:
        return NodeSetting(name=node)
    if not isinstance(node, dict) or not node.get("name"):
        raise ConfigError(f"{path}: each of nodes is a name, or a mapping with a name")
    unknown = sorted(set(map(str, node)) - {"name", "address", "user", "port", "identity_file", "jump"})
    if unknown:
        raise ConfigError(f"{path}: {clean_line(unknown[0])!r} is not a setting of a node")
    port = node.get("port", 0)
    if not isinstance(port, int) or not 0 <= port < 65536:
        raise ConfigError(f"{path}: port {clean_line(str(port))!r} of node {clean_line(str(node['name']))} is none")
    return NodeSetting(
        name=_text(node, "name", path),
        address=_text(node, "address", path),
        user=_text(node, "user", path),
        port=port,
        identity_file=_text(node, "identity_file", path),
        jump=_text(node, "jump", path),
    )


def _text(mapping: Mapping[Any, Any], key: str, path: Path) -> str:
    value = mapping.get(key) or ""
    if not isinstance(value, str):
        raise ConfigError(f"{path}: {key} is no text")
    return value


def state_folder(environ: Mapping[str, str]) -> Path:
    """Where kdiag remembers; not made until something is written."""
    return user_folder(environ, "XDG_STATE_HOME", ".local", "state") / "kdiag"


def kept(environ: Mapping[str, str], name: str) -> dict[str, Any]:
    """What kdiag keeps under this name in its state folder; nothing when there is none, or when it cannot be read."""
    try:
        return read_object(read_file(state_folder(environ) / f"{name}.json", "state"))
    except (OSError, ConfigError):
        return {}


def change(environ: Mapping[str, str], name: str, put: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Keep what ``put`` makes of what is kept under the name, whole or not at all: one run after the other.

    Raises OSError when the folder cannot be written.
    """
    folder = state_folder(environ)
    if not folder.is_dir():
        for each in (*reversed(folder.parents), folder):  # parents=True would make those as open as the umask has it
            each.mkdir(exist_ok=True, mode=0o700)
    partial = folder / f"{name}.{os.getpid()}.part"
    with _turn(folder):
        try:
            partial.write_text(json.dumps(put(kept(environ, name)), indent=1))
            partial.chmod(0o600)
            partial.replace(folder / f"{name}.json")
        except OSError:
            partial.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Wait for one's turn, but not for ever: who holds it may be stopped, and some file systems know no locks."""
    import fcntl

    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(_TURNS):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_TURN)
            except OSError:
                break
        yield
    finally:
        os.close(lock)


def remembered(environ: Mapping[str, str], server: str) -> list[dict[str, Any]]:
    """The nodes that this API server had when it last answered; none when that is not known."""
    try:
        nodes = kept(environ, _INVENTORY)[server]["nodes"]
    except (KeyError, TypeError):
        return []
    return [n for n in nodes if isinstance(n, dict)] if isinstance(nodes, list) else []


def remember(environ: Mapping[str, str], server: str, nodes: list[dict[str, Any]]) -> None:
    """Keep the nodes of this API server. Raises OSError when the folder cannot be written."""
    known = kept(environ, _INVENTORY).get(server)
    if not isinstance(known, dict) or known.get("nodes") != nodes:
        change(environ, _INVENTORY, lambda document: {**document, server: {"nodes": nodes}})
