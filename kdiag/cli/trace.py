"""``kdiag trace``: follow a request to the first hop that is broken."""

from __future__ import annotations

import argparse

from kdiag.cli.exits import Exit
from kdiag.cli.output import emit, signs, style
from kdiag.session import live, recorded

SCHEMA = "kdiag/trace/v1"


def _default(options: argparse.Namespace) -> str:
    """The namespace that kubectl would read in where none is given."""
    from kdiag.errors import ConfigError
    from kdiag.session.options import target

    if options.snapshot or options.namespace:
        return "default"
    try:
        return target(options).namespace or "default"
    except ConfigError:  # which the run itself says, or does without
        return "default"


def run(options: argparse.Namespace) -> int:
    """Print the hops; the exit code says whether all are well."""
    from kdiag.engine.intake import roots
    from kdiag.engine.trace import READS, Start, trace
    from kdiag.facts import Cluster, Version
    from kdiag.model.step import State, outcome

    start = Start.parse(options.target, options.namespace, default=_default(options))
    kinds = dict.fromkeys((*roots(READS), Cluster, Version))
    if options.snapshot:
        seen = recorded(options.snapshot, kinds)
    else:
        # The way may lead into other namespaces: all are read where that is allowed.
        seen = live(options, kinds, namespace="", fallback=start.namespace)
    start = start.meant(seen.facts)
    steps = trace(start, seen.facts)
    cluster, version = seen.facts.get(Cluster), seen.facts.get(Version)
    if options.output == "json":
        from kdiag.report.steps import render_steps_json

        head = {
            "cluster": {
                "context": cluster.context if cluster else "",
                "server": cluster.server if cluster else "",
                "version": version.text if version else "",
                "namespace": cluster.namespace if cluster else "",
            },
            "taken": cluster.taken.isoformat().replace("+00:00", "Z") if cluster else "",
            "notes": list(seen.notes),
            "target": {"kind": start.kind, "namespace": start.namespace, "name": start.name},
        }
        emit(render_steps_json(SCHEMA, head, "hops", steps))
    else:
        from kdiag.model.text import clean_line
        from kdiag.report.steps import render_steps

        how = style(options)
        where = " ".join(part for part in (cluster.context, cluster.server) if part) if cluster else ""
        lines = [how.paint(str(start.ref), "bold") + (f" · {clean_line(where or seen.source)}")]
        lines += [how.paint(f"note: {clean_line(note)}", "yellow") for note in seen.notes]
        emit("\n".join(lines) + "\n" + render_steps(steps, how, wide=options.output == "wide", signs=signs()))
    return {State.OK: Exit.CLEAN, State.BROKEN: Exit.FINDINGS, State.UNKNOWN: Exit.BLIND}[outcome(steps)]
