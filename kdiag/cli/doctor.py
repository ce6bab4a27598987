"""``kdiag doctor``: can kdiag see what it needs?"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

from kdiag.cli.exits import Exit
from kdiag.cli.output import emit, signs, style
from kdiag.cli.session import deadline, target
from kdiag.model.step import State, Step, outcome

SCHEMA = "kdiag/doctor/v1"


def run(options: argparse.Namespace) -> int:
    """Print a line for each thing that a run needs."""
    from kdiag.errors import ConfigError

    try:
        steps = tuple(_steps(options))
    except ConfigError as exc:
        _print(options, (Step(state=State.BROKEN, title="configuration", detail=str(exc)),))
        return Exit.USAGE
    _print(options, steps)
    return Exit.CLEAN if outcome(steps) is State.OK else Exit.BLIND


def _steps(options: argparse.Namespace) -> Iterator[Step]:
    from kdiag.collect.access import examine
    from kdiag.engine.intake import known, roots, sources
    from kdiag.engine.library import checks

    library = checks()
    blinded: dict[str, list[str]] = {}
    for check in library.values():
        for source in sources(roots(check.needs.values())):
            blinded.setdefault(source.key, []).append(check.id)
    bound = deadline(options)
    yield from examine(target(options), sources(known()), deadline=bound, namespace=options.namespace, blinded=blinded)


def _print(options: argparse.Namespace, steps: tuple[Step, ...]) -> None:
    from kdiag.report.steps import render_steps, render_steps_json

    if options.output == "json":
        taken = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        emit(render_steps_json(SCHEMA, {"taken": taken}, "steps", steps))
    else:
        emit(render_steps(steps, style(options), wide=options.output == "wide", signs=signs()))
