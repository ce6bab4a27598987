"""Folders of the user: where HOME and the XDG variables lead, and what is left when they lead nowhere."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from kdiag.errors import ConfigError
from kdiag.model.text import clean_line, shorten


def home_of(environ: Mapping[str, str]) -> Path:
    """The user's home: HOME, else what the system knows, else a place that holds nothing."""
    named = environ.get("HOME", "")
    if os.path.isabs(named):
        return Path(named)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:  # a user without an entry, as in many containers
        return Path("/nonexistent")


def user_folder(environ: Mapping[str, str], variable: str, *usual: str) -> Path:
    """A folder of the XDG specification. A relative path names none: not what lies where somebody happens to be."""
    named = environ.get(variable, "")
    return Path(named) if os.path.isabs(named) else home_of(environ).joinpath(*usual)


def expanded(path: str | Path, environ: Mapping[str, str]) -> Path:
    """A path that may begin with ``~`` or ``~user``. Raises ConfigError for a user that there is not."""
    text = str(path)
    if text == "~" or text.startswith("~/"):
        return Path(str(home_of(environ)) + text[1:])
    try:
        return Path(text).expanduser()
    except RuntimeError:
        name = clean_line(text.partition("/")[0])
        raise ConfigError(f"{shorten(clean_line(text), 200)}: {name} is the home of no user here") from None
