"""``kdiag record``: write all observations to a folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kdiag.cli.exits import Exit
from kdiag.cli.output import emit
from kdiag.errors import UsageError
from kdiag.session import live


def run(options: argparse.Namespace) -> int:
    """Record what every check reads, redacted."""
    from kdiag.collect.snapshot import Recorder
    from kdiag.engine.intake import known
    from kdiag.engine.library import checks
    from kdiag.model.text import clean_line, plural

    checks()  # so that the facts that only a check knows of are known too
    if not options.folder:
        raise UsageError("name a folder for the recording")
    recorder = Recorder(Path(options.folder))
    seen = live(options, known(), tee=recorder.take)
    recorder.finish(list(seen.notes))
    sys.stderr.write(f"recorded into {clean_line(options.folder)}; {plural(recorder.redacted, 'value')} redacted\n")
    emit(f"{clean_line(options.folder)}\n")
    return Exit.CLEAN
