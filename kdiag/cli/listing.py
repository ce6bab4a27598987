"""``kdiag list``: the checks there are."""

from __future__ import annotations

import argparse
import json

from kdiag.cli.exits import Exit
from kdiag.cli.output import emit


def run(options: argparse.Namespace) -> int:
    """Print the checks, one a line."""
    from kdiag.engine.library import choose

    chosen = choose(options.checks, risks=True)
    if options.output == "name":
        lines = [c.id for c in chosen]
    elif options.output == "json":
        lines = [
            json.dumps(
                [
                    {
                        "check": c.id,
                        "title": c.title,
                        "summary": c.summary,
                        "severity": c.severity.name.lower(),
                        "tags": list(c.tags),
                        "explains": list(c.explains),
                    }
                    for c in chosen
                ],
                indent=2,
            )
        ]
    elif options.output == "markdown":
        lines = ["| check | severity | what it finds |", "|---|---|---|"]
        lines += [f"| `{c.id}` | {c.severity.name.lower()} | {c.summary} |" for c in chosen]
    else:
        width = max((len(c.id) for c in chosen), default=0)
        lines = [f"{c.id:<{width}}  {c.severity.name.lower():<8}  {c.title}" for c in chosen]
        if options.output == "wide":
            lines = [f"{line}  [{', '.join(c.tags)}]" for line, c in zip(lines, chosen, strict=True)]
    emit("\n".join(lines) + "\n")
    return Exit.CLEAN
