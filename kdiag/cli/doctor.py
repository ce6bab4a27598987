"""``kdiag doctor``: can kdiag see what it needs?"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kdiag.cli.exits import Exit
from kdiag.cli.output import emit, signs, style
from kdiag.model.step import State, Step, outcome
from kdiag.model.text import listing, plural
from kdiag.session import deadline, inventory_of, live, target

if TYPE_CHECKING:
    from kdiag.collect.inventory import Inventory
    from kdiag.facts.base import Fact
    from kdiag.model.observation import Observation

SCHEMA = "kdiag/doctor/v1"


def run(options: argparse.Namespace) -> int:
    """Print a line for each thing that a run needs."""
    from kdiag.errors import ConfigError

    found: list[Step] = []
    inventory = inventory_of(options)
    try:
        found += _steps(options, local=inventory.local)
    except ConfigError as exc:
        # A worker needs none: it is read by itself.
        state = State.UNKNOWN if inventory.local and not options.kubeconfig else State.BROKEN
        found.append(Step(state=state, title="configuration", detail=str(exc), blocks=state is State.BROKEN))
        if not inventory.local:
            _print(options, tuple(found))
            return Exit.USAGE
    try:
        found += _nodes(options, inventory)
    except ConfigError as exc:
        found.append(Step(state=State.BROKEN, title="SSH configuration", detail=str(exc)))
        _print(options, tuple(found))
        return Exit.USAGE
    steps = tuple(found)
    _print(options, steps)
    return Exit.CLEAN if outcome(steps) is State.OK else Exit.BLIND


def _steps(options: argparse.Namespace, *, local: bool) -> Iterator[Step]:
    from kdiag.collect.access import examine
    from kdiag.engine.intake import known, sources
    from kdiag.engine.library import checks

    checks()
    blinded = _blinded()
    bound = deadline(options)
    where = target(options, local=local)
    yield from examine(where, sources(known()), deadline=bound, namespace=options.namespace, blinded=blinded)


def _blinded() -> dict[str, list[str]]:
    """For the key of each source, the checks that are unknown without it."""
    from kdiag.engine.intake import roots, sources
    from kdiag.engine.library import checks

    found: dict[str, list[str]] = {}
    for check in checks().values():
        for source in sources(roots(check.needs.values())):
            found.setdefault(source.key, []).append(check.id)
    return found


def _nodes(options: argparse.Namespace, inventory: Inventory) -> Iterator[Step]:
    """The way to each node, found out by going there and running what a check runs."""
    from kdiag.engine.intake import known
    from kdiag.errors import CollectError
    from kdiag.facts import Nodes
    from kdiag.facts.hosts import HostFact

    if options.no_nodes:
        return
    kinds: list[type[Fact]] = [Nodes, *(fact for fact in known() if issubclass(fact, HostFact))]
    heard: dict[str, list[Observation]] = {}

    def take(seen: Observation) -> None:
        if seen.source == "node":
            heard.setdefault(seen.host, []).append(seen)

    ways: dict[str, str] = {}
    try:
        seen = live(options, kinds, tee=take, logs=False, ways=ways)
        notes = [note for note in seen.notes if note.startswith("the nodes are not read")]
    except CollectError:
        # Nothing can be read at all: why is said above.
        notes = []
    yield _configuration(inventory, heard, ways, notes)
    for host in sorted(heard):
        yield from _node(host, heard[host], ways.get(host, ""))


def _configuration(
    inventory: Inventory, heard: dict[str, list[Observation]], ways: dict[str, str], notes: list[str]
) -> Step:
    read = inventory.file or "~/.ssh/config and /etc/ssh/ssh_config"
    own = inventory.settings.path
    detail = f"{read}{f', and {own}' if own else ''}"
    if notes:
        return Step(state=State.UNKNOWN, title="SSH configuration", detail=notes[0])
    if not ways:
        missing = "no SSH entry for any node: what only nodes tell is left out" if not heard else "no way to any node"
        return Step(
            state=State.ABSENT,
            title="nodes",
            detail=f"{missing} ({detail}; see --ssh-config, --local)",
        )
    return Step(state=State.OK, title="SSH configuration", detail=detail)


def _node(host: str, said: list[Observation], way: str) -> Iterator[Step]:
    title = f"node {host}"
    lost = next((o.error for o in said if o.key == "node"), "")
    if lost:
        absent = lost.startswith("no way to it")
        reason = "no SSH entry by its name or address" if absent else lost
        # What mends it stands behind the last semicolon, where the reason has one.
        yield Step(state=State.ABSENT if absent else State.BROKEN, title=title, detail=reason)
        return
    refused = [o for o in said if "sudo is refused" in o.error or "there is no sudo there" in o.error]
    missing = [o for o in said if o.error.endswith(": command not found")]
    programs = sorted({o.error.partition(":")[0] for o in missing})
    late = [o for o in said if "did not finish within" in o.error or o.error.startswith(("not asked", "cut short"))]
    sudo = "sudo yes" if not refused else "sudo no"
    if way == "this machine" or way.startswith("root@"):
        sudo = "as root"
    words = [way, sudo, f"{len(said) - len(refused) - len(late) - len(missing)} of {len(said)} commands answer"]
    if programs:
        words.append(f"not there: {listing(programs, 4)}")
    state = State.UNKNOWN if refused or late else State.OK
    yield Step(state=state, title=title, detail=", ".join(filter(None, words)), blocks=bool(refused or late))
    if refused:
        blinded = _blinded()
        checks = {check for o in refused for check in blinded.get(o.key, ())}
        keys = listing(list(dict.fromkeys(o.key for o in refused)), 4)
        user = way.partition("@")[0] if "@" in way else "USER"
        yield Step(
            state=State.UNKNOWN,
            title=refused[0].error.partition(":")[0],
            detail=f"{refused[0].error.partition(': ')[2] or 'sudo is not installed'}: {len(refused)} commands need it "
            f"({keys}); {plural(len(checks), 'check is', 'checks are')} unknown without",
            command=f"kdiag node --sudoers {user}   # to be put into /etc/sudoers.d on {host}",
            level=1,
        )
    for one in late[:3]:
        yield Step(state=State.UNKNOWN, title=one.name or one.key, detail=one.error, level=1)


def _print(options: argparse.Namespace, steps: tuple[Step, ...]) -> None:
    from kdiag.report.steps import render_steps, render_steps_json

    if options.output == "json":
        taken = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        emit(render_steps_json(SCHEMA, {"taken": taken}, "steps", steps))
    else:
        emit(render_steps(steps, style(options), wide=options.output == "wide", signs=signs()))
