"""The embedded recordings of ``kdiag demo``. Their folders are those of ``fixtures/clusters``: see ``setup.py``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kdiag.errors import UsageError

#: What can be opened: its name, the folder of the recording in a checkout, and what it shows.
RECORDINGS: Mapping[str, tuple[str, str]] = {
    "night": ("demo", "four faults at once, seen through the API"),
    "dead": ("broken-etcd-certificate-path", "the API server is dead: the nodes tell why"),
}


def recording(name: str) -> Path:
    """The folder of a recording. Raises UsageError when it was not installed."""
    from importlib.resources import files

    folder, _ = RECORDINGS[name]
    try:
        installed = Path(str(files(f"kdiag.demo.{name}")))
    except ModuleNotFoundError:
        installed = Path(__file__).parents[2] / "fixtures" / "clusters" / folder
    if not installed.is_dir():
        raise UsageError(f"the recording {name!r} is not installed")
    return installed
