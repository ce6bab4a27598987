"""``kdiag node``: everything about one node."""

from __future__ import annotations

import argparse
import gc
import time
from typing import TYPE_CHECKING

from kdiag.cli.exits import Exit
from kdiag.cli.output import emit, style
from kdiag.errors import UsageError
from kdiag.model.result import Severity
from kdiag.session import live, recorded

if TYPE_CHECKING:
    from kdiag.engine.intake import Facts


def run(options: argparse.Namespace) -> int:
    """Print the picture of a node; the exit code says whether something is wrong with it."""
    if options.sudoers:
        return _sudoers(options.sudoers)
    # The objects of a run live until its end: looking for garbage among them only takes time.
    gc.disable()
    start = time.monotonic()
    from kdiag.collect.inventory import on_a_node
    from kdiag.engine.intake import needed
    from kdiag.engine.library import checks, choose
    from kdiag.engine.verdict import judge
    from kdiag.facts import Version
    from kdiag.report.node import FACTS, picture, render_node, render_node_json

    name = options.name.removeprefix("node/").removeprefix("nodes/").removeprefix("no/")
    if not name and not options.local and not on_a_node():
        raise UsageError("name a node: kdiag node w1; or --local for this machine")
    chosen = choose(())
    kinds = dict.fromkeys((*needed(chosen), *FACTS, Version))
    seen = recorded(options.snapshot, kinds) if options.snapshot else live(options, kinds, node=name)
    verdict = judge(chosen, seen.facts, checks(), source=seen.source, notes=seen.notes, late=seen.late)
    found = picture(seen.facts, verdict, named(seen.facts, name))
    if options.output == "json":
        emit(render_node_json(found))
    else:
        took = None if options.snapshot else time.monotonic() - start
        emit(render_node(found, style(options), seconds=took, wide=options.output == "wide"))
    if any(cause.worst >= Severity.ERROR for cause in found.causes):
        return Exit.FINDINGS
    known = len(found.head) > 1
    return Exit.BLIND if found.refused or not (found.read or known) else Exit.CLEAN


def named(facts: Facts, wanted: str) -> str:
    """The node that is meant: by its name, its short name or an address. Raises UsageError."""
    from kdiag.collect.inventory import own_names
    from kdiag.facts import Nodes
    from kdiag.model.text import listing, nearest
    from kdiag.report.node import names

    found = names(facts)
    nodes = facts.get(Nodes)
    addresses = {a.address: n.name for n in (nodes.items if nodes else ()) for a in n.status.addresses}
    meant = {wanted.lower()} if wanted else own_names()
    for name in found:
        if meant & {name.lower(), name.partition(".")[0].lower()}:
            return name
    for word in meant:
        if word in addresses:
            return addresses[word]
    if len(facts.nodes) == 1 and not wanted:
        return facts.nodes[0]
    there = f"there are {listing(sorted(found), 6) or 'none'}"
    if not wanted:
        raise UsageError(f"this machine is none of the cluster's nodes: {there}")
    close = nearest(wanted, found)
    raise UsageError(f"there is no node {wanted!r}: {f'did you mean {close!r}?' if close else there}")


def _sudoers(user: str) -> int:
    import re

    from kdiag.collect.sudoers import sudoers
    from kdiag.engine.intake import known, sources
    from kdiag.engine.library import checks

    if not re.fullmatch(r"[A-Za-z_%][A-Za-z0-9_.%-]{0,63}", user):
        raise UsageError(f"--sudoers {user!r} is no user name")
    checks()  # so that the facts that only a check knows of are known too
    emit(sudoers(sources(known()), user))
    return Exit.CLEAN
