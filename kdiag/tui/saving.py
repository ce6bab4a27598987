"""What is written to files: names that nobody has yet, and the incident report."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kdiag.errors import UsageError

if TYPE_CHECKING:
    from kdiag.engine.verdict import Verdict


def new_name(stem: str, suffix: str) -> str:
    """A name in the working folder that nothing has."""
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    path = Path(f"{stem}-{stamp}{suffix}")
    number = 2
    while path.exists():
        path = Path(f"{stem}-{stamp}-{number}{suffix}")
        number += 1
    return str(path)


def save_report(name: str, verdict: Verdict) -> str:
    """Write the report, as HTML where the name says so, else as Markdown. Raises UsageError."""
    from kdiag.report.incident import render_html, render_incident

    path = Path(name).expanduser()
    text = render_html(verdict) if path.suffix in (".html", ".htm") else render_incident(verdict)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise UsageError(f"{path} exists: name another file") from None
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}") from exc
    return str(path)
