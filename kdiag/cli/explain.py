"""``kdiag explain``: a runbook page, with the real names in its commands."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import sys

from kdiag.cli.exits import Exit
from kdiag.cli.output import emit, style
from kdiag.errors import UsageError

_WIDTH = 100
_KINDS_WITHOUT_NAMESPACE = {
    "node",
    "nodes",
    "no",
    "pv",
    "persistentvolume",
    "storageclass",
    "ingressclass",
    "namespace",
    "ns",
    "apiservice",
    "csidriver",
    "validatingwebhookconfiguration",
    "mutatingwebhookconfiguration",
}
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:-]{0,251}[A-Za-z0-9])?")
#: The first assignments of a page: ``NAMESPACE=shop NAME=web   # the object of the finding``.
_SETTING = re.compile(r"^(?P<indent>\s*)(?P<words>[A-Z][A-Z0-9_]*=\S*(?:[ \t]+[A-Z][A-Z0-9_]*=\S*)*)(?P<rest>.*)$")


def run(options: argparse.Namespace) -> int:
    """Print one page, the pages that hold some words, or the list of all."""
    if options.search.strip():
        return _search(options)
    if not options.check:
        emit(_contents(options))
        return Exit.CLEAN
    from kdiag.engine.library import find

    check = find(options.check)
    text = page(check.id)
    if options.object:
        text = with_names(text, options.object)
    if options.output == "markdown":
        emit(text)
        return Exit.CLEAN
    from kdiag.report.markdown import render_markdown

    how = style(options, most=_WIDTH, plain=_WIDTH)
    _show(render_markdown(text, how, group=check.group))
    return Exit.CLEAN


def page(check_id: str) -> str:
    """The Markdown of a check's page. Raises UsageError when there is none."""
    from kdiag.engine.runbook import source

    return source(check_id)


def with_names(text: str, word: str) -> str:
    """The page with the variables of its first command block set to the names of an object.

    ``shop/web`` and ``service/shop/web`` give NAMESPACE and NAME, ``node/w1`` gives NODE and NAME. Raises UsageError
    for a word that cannot name an object.
    """
    values = _values(word)
    lines = text.split("\n")
    inside = False
    for number, line in enumerate(lines):
        if line.strip().startswith("```"):
            if inside:
                break
            inside = True
        elif inside and (match := _SETTING.match(line)):
            words = []
            for setting in re.split(r"[ \t]+", match["words"]):
                name, _, old = setting.partition("=")
                words.append(f"{name}={shlex.quote(values[name]) if name in values else old}")
            lines[number] = f"{match['indent']}{' '.join(words)}{match['rest']}"
    return "\n".join(lines)


def _values(word: str) -> dict[str, str]:
    parts = word.split("/")
    if not all(_NAME.fullmatch(part) for part in parts) or len(parts) not in (2, 3):
        raise UsageError(f"{word!r} names no object: write NAMESPACE/NAME, KIND/NAMESPACE/NAME or node/NAME")
    kind = parts[0].lower()
    if len(parts) == 2 and kind in _KINDS_WITHOUT_NAMESPACE:
        own = {"NODE": parts[1]} if kind in ("node", "nodes", "no") else {}
        if kind in ("namespace", "ns"):
            own = {"NAMESPACE": parts[1]}
        return {"NAME": parts[1], **own}
    namespace, name = parts[-2:]
    values = {"NAMESPACE": namespace, "NAME": name}
    if len(parts) == 3:
        values["KIND"] = kind
        values[re.sub(r"[^A-Z0-9]", "_", kind.upper())] = name
    return values


def _contents(options: argparse.Namespace) -> str:
    from kdiag.engine.library import GROUPS, checks

    found = checks()
    if options.output == "markdown":
        lines = []
        for group in GROUPS:
            lines += [f"## {group}", ""]
            lines += [f"- [{c.title}]({c.id}.md): {c.summary}" for c in found.values() if c.group == group] + [""]
        return "\n".join(lines)
    how = style(options)
    width = max((len(c.id.partition("/")[2]) for c in found.values()), default=0)
    lines = []
    for group in GROUPS:
        lines.append(how.paint(group, "bold"))
        lines += [f"  {c.id.partition('/')[2]:<{width}}  {c.title}" for c in found.values() if c.group == group]
    lines.append("kdiag explain NAME shows a page; kdiag explain NAME NAMESPACE/OBJECT fills its commands in")
    return "\n".join(lines) + "\n"


def _search(options: argparse.Namespace) -> int:
    from kdiag.engine.runbook import search

    if options.check:
        raise UsageError("--search looks through all pages: leave the name away")
    found = search(options.search)
    if not found:
        raise UsageError(f"no runbook page has all of: {options.search}")
    how = style(options)
    lines = []
    for hit in found:
        lines.append(f"{how.paint(hit.title, 'bold')}  {hit.check_id}")
        lines += [f"    {text}" for text in hit.lines]
    emit("\n".join(lines) + "\n")
    return Exit.CLEAN


def _show(text: str) -> None:
    """Print, or page where a person reads and the screen is too small."""
    rows = shutil.get_terminal_size((100, 24)).lines
    if not (sys.stdout.isatty() and sys.stdin.isatty() and text.count("\n") >= rows and _wants_pager()):
        emit(text)
        return
    import pydoc

    os.environ.setdefault("LESS", "-FRX")  # colours, and no clearing of the screen
    os.environ.pop("MANPAGER", None)  # which pydoc would take before PAGER
    pydoc.pager(text)


def _wants_pager() -> bool:
    return os.environ.get("TERM", "dumb") != "dumb" and os.environ.get("PAGER", "less") not in ("", "cat")
