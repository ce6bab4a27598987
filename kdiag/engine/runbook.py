"""A runbook page as steps to walk: commands with the finding's own objects, what to look for, and where it leads.

Pure: nothing here runs a command. ``kdiag.collect.execute`` does, and only what the allow-list lets through.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kdiag.engine import readonly, shell
from kdiag.errors import UsageError
from kdiag.model.result import Finding, Ref

_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
#: What a value may look like that goes into a command: it needs no quotes and is no option.
_VALUE = re.compile(r"[A-Za-z0-9/][A-Za-z0-9_./:@+=,-]{0,252}")
#: Commands after this comment are for a person: the page says why.
_BY_HAND = re.compile(r"#\s*by hand\s*(?::\s*(?P<why>.*))?$")
_COMMANDS = re.compile(
    r"(?:\$ )?(?:kubectl|kdiag|ssh|sudo|systemctl|journalctl|crictl|kubeadm|helm|openssl|etcdctl|aws) "
)
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
_PAGE = re.compile(r"(?:\.\./(?P<group>[a-z_]+)/)?(?P<name>[a-z0-9_]+)\.md(?:#.*)?")
_CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_NOT = re.compile(
    r"\b(?:no|not|never|without|neither|nor|lacks?|missing|instead of)(?: (?:a|an|any|the))?\s*$", re.IGNORECASE
)


class Kind(enum.Enum):
    """What a step is."""

    SET = "set"  # sets variables to what is known; nothing runs
    RUN = "run"  # may be run; a step that sets a variable to what commands print is one as well
    COPY = "copy"  # for a person to copy: ``refused`` says why


@dataclass(frozen=True, slots=True)
class Expect:
    """Something that the page names in inline code beside a command. ``wanted`` is False where it says "no …"."""

    text: str
    wanted: bool = True

    @property
    def pattern(self) -> re.Pattern[str]:
        """Finds it in a line: ``…`` stands for anything, blanks for blanks, and words are whole words."""
        return _pattern(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One of the page's conclusions. ``text`` is Markdown; ``pages`` are the ids of the pages that it leads to.

    ``expects`` are what its condition names, ``numbers`` the ports and counts among that: one of them has to be in a
    line with it.
    """

    text: str
    expects: tuple[Expect, ...] = ()
    numbers: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command line of a page.

    ``text`` is as the page has it, ``command`` has the values in it and is what runs and what is copied. ``missing``
    are the variables for which the finding names nothing: a person has to set them. ``sets`` are the variables that
    it gives to the steps after it. ``node`` is the node it runs on, empty for this machine. ``by_hand``: the page
    itself leaves it to a person.
    """

    number: int
    kind: Kind
    text: str
    command: str
    comment: str = ""
    node: str = ""
    sets: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    refused: str = ""
    by_hand: bool = False

    @property
    def runs(self) -> bool:
        """Whether it can be run as it is, once the steps before it are."""
        return self.kind is Kind.RUN and not self.missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Steps that stand together: the prose before and after them (Markdown), what to look for, and where it leads."""

    steps: tuple[Step, ...]
    before: str = ""
    after: str = ""
    expects: tuple[Expect, ...] = ()
    branches: tuple[Branch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One entry of Mitigation, only ever quoted. ``undo`` is what the page says of the way back."""

    text: str
    commands: tuple[str, ...] = ()
    undo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page. ``meaning``, ``impact``, ``closing`` and ``mitigation`` are Markdown; links are as on the page.

    ``values`` holds each variable that a step may read and that is known; ``unfilled`` those for which a filled page
    has only the page's own example.
    """

    check_id: str
    title: str
    meaning: str = ""
    impact: str = ""
    blocks: tuple[Block, ...] = ()
    closing: str = ""
    mitigation: str = ""
    remedies: tuple[Remedy, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    unfilled: tuple[str, ...] = ()
    finding: Finding | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order."""
        return tuple(step for block in self.blocks for step in block.steps)

    def block_of(self, step: Step) -> Block:
        """The block in which this step stands."""
        return next(b for b in self.blocks if any(s.number == step.number for s in b.steps))


@dataclass(frozen=True, slots=True)
class Mark:
    """A part of an output line that the page names."""

    line: int
    start: int
    end: int
    expect: Expect


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What an output says in the page's words: the parts that it names, and the branches that they point to."""

    marks: tuple[Mark, ...] = ()
    branches: tuple[Branch, ...] = ()

    @property
    def lines(self) -> frozenset[int]:
        """The numbers of the marked lines, from 0."""
        return frozenset(mark.line for mark in self.marks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a step.

    ``lines`` are fit to be shown. ``status`` is the exit code; None where nothing ran or ended. ``refused`` says why
    nothing was run, ``error`` what kept it from its end. ``via`` says who answered: ``kubectl``, ``kdiag``, a node's
    name, ``recording``. ``left`` counts lines that are not kept. ``sets`` are the variables that it gave.
    """

    lines: tuple[str, ...] = ()
    status: int | None = None
    took: float = 0.0
    refused: str = ""
    error: str = ""
    via: str = ""
    left: int = 0
    sets: Mapping[str, str] = field(default_factory=dict)

    @property
    def ran(self) -> bool:
        """Whether there is an answer to read, be it an empty one."""
        return self.status is not None


class Runs(Protocol):
    """Who runs steps: against a cluster, or against a recording. One step at a time."""

    def run(self, step: Step, values: Mapping[str, str]) -> Outcome:
        """Run one step; ``values`` are the page's and those that earlier steps gave. Never raises for what it meets."""

    def close(self) -> None:
        """Let the connections go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """A page, and what came of the steps that were run, by their number."""

    page: Page
    outcomes: Mapping[int, Outcome] = field(default_factory=dict)
    marks: Mapping[int, Marks] = field(default_factory=dict)

    def branches(self, block: Block) -> tuple[Branch, ...]:
        """The branches that the outputs of this block point to, in the page's order."""
        found = {b for step in block.steps for b in self.marks.get(step.number, Marks()).branches}
        return tuple(b for b in block.branches if b in found)


def walk(page: Page, runs: Runs, tell: Callable[[Step], None] = lambda _: None) -> Walked:
    """Run every step that may run, in order; each has what those before it found out. ``tell`` is told before each."""
    values = dict(page.values)
    outcomes: dict[int, Outcome] = {}
    marks: dict[int, Marks] = {}
    for block in page.blocks:
        for step in block.steps:
            if step.kind is not Kind.RUN or step.missing:
                continue
            tell(step)
            outcome = outcomes[step.number] = runs.run(step, values)
            values |= outcome.sets
            if not step.sets:
                marks[step.number] = mark(block, outcome.lines)
    return Walked(page=page, outcomes=outcomes, marks=marks)


# Reading a page


@functools.cache
def source(check_id: str) -> str:
    """The Markdown of a check's page. Raises UsageError when there is none."""
    from importlib.resources import files

    group, _, name = check_id.partition("/")
    try:
        return (files("kdiag.runbooks") / group / f"{name}.md").read_text(encoding="utf-8")
    except OSError:
        raise UsageError(f"{check_id} has no runbook page") from None


def page(check_id: str) -> Page:
    """The page of a check, with the page's own examples in its commands."""
    return parse(check_id, source(check_id))


def parse(check_id: str, text: str) -> Page:
    """Take a page apart."""
    lines = text.split("\n")
    title, sections = "", {"": ""}
    heads = [h for h in _headings(text) if h[1] in ("h1", "h2")]
    for number, (line, tag, name) in enumerate(heads):
        end = heads[number + 1][0] if number + 1 < len(heads) else len(lines)
        body = "\n".join(lines[line + 1 : end]).strip("\n")
        if tag == "h1":
            title = title or name
        sections[name] = body
    group = check_id.partition("/")[0]
    values: dict[str, str] = {}
    blocks, closing = _blocks(sections.get("Diagnosis", ""), group, values)
    mitigation = sections.get("Mitigation", "")
    return Page(
        check_id=check_id,
        title=title,
        meaning=sections.get("Meaning", ""),
        impact=sections.get("Impact", ""),
        blocks=tuple(blocks),
        closing=closing,
        mitigation=mitigation,
        remedies=tuple(_remedies(mitigation)),
        values=values,
    )


def _headings(text: str) -> Iterator[tuple[int, str, str]]:
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").parse(text)
    for number, token in enumerate(tokens):
        if token.type == "heading_open" and token.map:
            yield token.map[0], token.tag, tokens[number + 1].content


@dataclass(frozen=True, slots=True)
class _Piece:
    """A paragraph, a list item or a fence, in the order of the page."""

    kind: str
    text: str


def _pieces(text: str) -> list[_Piece]:
    """The section as a flat row of prose and fences, however deep the fences stand in lists."""
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

    lines = text.split("\n")

    def cut(start: int, end: int) -> str:
        block = lines[start:end]
        while block and not block[-1].strip():
            block.pop()
        indent = min((len(line) - len(line.lstrip()) for line in block if line.strip()), default=0)
        return "\n".join(line[indent:] for line in block)

    def walk(nodes: Sequence[SyntaxTreeNode]) -> Iterator[_Piece]:
        for node in nodes:
            span = node.map or (0, 0)
            if node.type == "fence":
                yield _Piece("fence" if node.info.split()[:1] == ["sh"] else "text", node.content)
            elif node.type in ("bullet_list", "ordered_list"):
                for item in node.children:
                    if any(inner.type == "fence" for inner in item.walk()):
                        yield from walk(item.children)
                    else:
                        start, end = item.map or (0, 0)
                        yield _Piece("item", cut(start, end))
            else:
                yield _Piece("text", cut(*span))

    return list(walk(SyntaxTreeNode(MarkdownIt("commonmark").enable("table").parse(text)).children))


def _blocks(text: str, group: str, values: dict[str, str]) -> tuple[list[Block], str]:
    """The blocks of the Diagnosis; the prose of a section without any is its closing."""
    found: list[Block] = []
    before: list[str] = []
    pending: list[str] | None = None
    after: list[_Piece] = []
    number = 1

    def close() -> None:
        nonlocal pending, after, before, number
        if pending is None:
            return
        lead = "\n\n".join(before)
        before = []
        if after and after[-1].text.rstrip().endswith(":") and after[-1].kind == "text":
            before = [after.pop().text]
        steps = list(_steps(pending, number, values))
        number += len(steps)
        branches = [_branch(piece.text, group) for piece in after]
        found.append(
            Block(
                steps=tuple(steps),
                before=lead,
                after=_joined(after),
                expects=tuple(dict.fromkeys(e for piece in after for e in _expects(piece.text))),
                branches=tuple(b for b, p in zip(branches, after, strict=True) if b.pages or p.kind == "item"),
            )
        )
        pending, after = None, []

    for piece in _pieces(text):
        if piece.kind == "fence":
            close()
            pending = [piece.text]
        elif pending is None:
            before.append(piece.text)
        else:
            after.append(piece)
    close()
    return found, "\n\n".join(before)


def _joined(pieces: Sequence[_Piece]) -> str:
    """Prose as it stood: list items on following lines, paragraphs apart."""
    text = ""
    for number, piece in enumerate(pieces):
        tight = number and piece.kind == "item" and pieces[number - 1].kind == "item"
        text += ("\n" if tight else "\n\n" if number else "") + piece.text
    return text


def _steps(blocks: Iterable[str], number: int, values: dict[str, str]) -> Iterator[Step]:
    for block in blocks:
        by_hand: str | None = None
        for line, comment in _lines(block):
            if not line:
                if match := _BY_HAND.match(comment):
                    by_hand = match["why"] or "the page leaves it to a person"
                continue
            yield _step(number, line, comment, by_hand, values)
            number += 1


def _lines(block: str) -> Iterator[tuple[str, str]]:
    """Command lines and their comments; continued lines, pipes and quotes that span lines are one."""
    held = ""
    for raw in block.split("\n"):
        line = f"{held}\n{raw}" if held else raw
        if not line.strip():
            continue
        if line.lstrip().startswith("#") and not held:
            yield "", line.strip()
            continue
        code, comment = _comment(line)
        if _open(code):
            held = line
            continue
        held = ""
        yield code.strip(), comment
    if held:
        code, comment = _comment(held)
        yield code.strip(), comment


def _comment(line: str) -> tuple[str, str]:
    """A line without its comment, and the comment without its sign."""
    quote = ""
    for at, char in enumerate(line):
        if quote:
            quote = "" if char == quote and (quote == "'" or line[at - 1] != "\\") else quote
        elif char in "'\"":
            quote = char
        elif char == "#" and at and line[at - 1] in " \t":
            return line[:at].rstrip(), line[at + 1 :].strip()
    return line, ""


def _open(code: str) -> bool:
    """Whether the command goes on in the next line."""
    if re.search(r"(?:\\|\||&&)\s*$", code):
        return True
    if re.match(r"\s*(?:for|while|until|if|case)\b", code) and not re.search(r"\b(?:done|fi|esac)\s*$", code):
        return True
    plain = re.sub(r"\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"", "", code, flags=re.DOTALL)
    return "'" in plain or '"' in plain


def _step(number: int, line: str, comment: str, by_hand: str | None, values: dict[str, str]) -> Step:
    if by_hand is not None:
        step = Step(number=number, kind=Kind.COPY, text=line, command=line, comment=comment)
        return dataclasses.replace(step, refused=by_hand, by_hand=True)
    try:
        script = shell.parse(line)
    except shell.ShellError as exc:
        return Step(number=number, kind=Kind.COPY, text=line, command=line, comment=comment, refused=str(exc))
    commands = list(script.commands())
    sets = tuple(name for command in commands for name, _ in command.sets)
    if sets and not any(command.words for command in commands) and not list(script.substitutions()):
        for command in commands:
            for name, word in command.sets:
                try:
                    values[name] = shell.expand_value(word, values, lambda _: "")
                except shell.ShellError:
                    values.pop(name, None)
        return Step(number=number, kind=Kind.SET, text=line, command=line, comment=comment, sets=sets)
    return _judged(Step(number=number, kind=Kind.RUN, text=line, command=line, comment=comment, sets=sets), values, ())


def _judged(step: Step, values: Mapping[str, str], missing: Iterable[str]) -> Step:
    """The step with these values in it, and whether it may run."""
    command = shell.filled(step.text, values)
    why = readonly.refused(command, values)
    kind = Kind.COPY if why else Kind.RUN
    try:
        script = shell.parse(command)
        wanted = set(shell.parse(step.text).variables())
    except shell.ShellError as exc:
        return dataclasses.replace(step, kind=Kind.COPY, command=command, refused=why or str(exc))
    lacking = tuple(name for name in dict.fromkeys(missing) if name in wanted)
    node = next((place for c in script.commands() if (place := readonly.placed(c, values))), "")
    return dataclasses.replace(step, kind=kind, command=command, refused=why or "", node=node, missing=lacking)


def _expects(text: str) -> Iterator[Expect]:
    """What the text names in inline code, but for commands to type."""
    for match in _CODE.finditer(text):
        code = " ".join(match[2].split())
        if len(code) < 2 or _COMMANDS.match(code) or not re.search(r"[A-Za-z0-9]{2}", code):
            continue
        yield Expect(code, wanted=not _NOT.search(text[: match.start()]))


def _branch(text: str, group: str) -> Branch:
    """A conclusion: the condition is what stands before the first colon, where there is one."""
    body = re.sub(r"^\s*(?:[-*+]|[0-9]+[.)])\s+", "", text)
    plain = _CODE.sub(lambda m: "\0" * len(m[0]), body)
    colon = re.search(r":(?:\s|$)", plain)
    condition = body[: colon.start()] if colon else body
    pages = []
    for _, target in _LINK.findall(text):
        if match := _PAGE.fullmatch(target):
            pages.append(f"{match['group'] or group}/{match['name']}")
    return Branch(
        text=" ".join(body.split()),
        expects=tuple(dict.fromkeys(_expects(condition))),
        numbers=tuple(re.findall(r"(?<![\w.])[0-9]{3,5}(?![\w.])", _CODE.sub("", condition))),
        pages=tuple(dict.fromkeys(pages)),
    )


def _remedies(text: str) -> Iterator[Remedy]:
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

    lines = text.split("\n")
    general = ""
    parts: list[tuple[str, list[str]]] = []
    for node in SyntaxTreeNode(MarkdownIt("commonmark").parse(text)).children:
        items = node.children if node.type in ("ordered_list", "bullet_list") else [node]
        for item in items:
            start, end = item.map or (0, 0)
            body = "\n".join(lines[start:end]).strip("\n")
            commands = [inner.content.rstrip("\n") for inner in item.walk() if inner.type == "fence"]
            if item.type == "fence" and parts:
                parts[-1] = (f"{parts[-1][0]}\n\n{body}", [*parts[-1][1], *commands])
            elif item.type == "paragraph" and re.match(r"Undo\b|Nothing here can be undone", body):
                general = body
            else:
                parts.append((body, commands))
    for body, commands in parts:
        if body.startswith("Further reading:"):
            continue
        undo = " ".join(
            s
            for s in re.split(r"(?<=[.;])\s+", re.sub(r"```.*?```", "", body, flags=re.DOTALL))
            if re.search(r"\bund(?:o|oes|one)\b", s, re.IGNORECASE)
        )
        yield Remedy(text=body, commands=tuple(commands), undo=" ".join(undo.split()) or general)


# Filling a page

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "ReplicationController")
#: Which kinds of object may stand for a variable.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "NODE": ("Node",),
    "POD": ("Pod",),
    "SERVICE": ("Service",),
    "CLAIM": ("PersistentVolumeClaim",),
    "PV": ("PersistentVolume",),
    "ACCOUNT": ("ServiceAccount",),
    "SECRET": ("Secret",),
    "REQUEST": ("CertificateSigningRequest",),
    "DRIVER": ("CSIDriver",),
}
#: Words of a page's comment ("# the Service of the finding"), and the kinds that they mean.
_MEANT: Mapping[str, tuple[str, ...]] = {
    "workload": _WORKLOADS,
    "deployment": ("Deployment",),
    "statefulset": ("StatefulSet",),
    "daemonset": ("DaemonSet",),
    "cronjob": ("CronJob",),
    "job": ("Job",),
    "service": ("Service",),
    "ingress": ("Ingress",),
    "pod": ("Pod",),
    "budget": ("PodDisruptionBudget",),
    "autoscaler": ("HorizontalPodAutoscaler",),
    "apiservice": ("APIService",),
    "claim": ("PersistentVolumeClaim",),
    "node": ("Node",),
}
_STATIC = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")


def fill(page: Page, finding: Finding | None, hints: Mapping[str, str] | None = None) -> Page:
    """The page with the finding's own objects in its commands.

    ``hints`` are values that the finding itself does not name and the caller knows: ``POD`` (a troubled pod of the
    workload), ``NODE`` (a control-plane node). What is known of neither is left as the page has it and is in
    ``unfilled``; steps that read it have it in ``missing``. A variable that is fixed on the page (a path, a namespace
    of the system, what is made of others) stays.
    """
    values: dict[str, str] = {}
    unfilled: dict[str, None] = {}
    blocks = []
    for block in page.blocks:
        steps = []
        for step in block.steps:
            match step.kind:
                case Kind.SET:
                    steps.append(_set(step, finding, hints or {}, values, unfilled))
                case Kind.RUN if step.sets:
                    steps.append(_asked(step, finding, hints or {}, values, unfilled))
                case _ if step.by_hand:
                    steps.append(dataclasses.replace(step, command=shell.filled(step.text, values)))
                case _:
                    steps.append(_judged(step, values, unfilled))
        blocks.append(dataclasses.replace(block, steps=tuple(steps)))
    return dataclasses.replace(
        page,
        blocks=tuple(blocks),
        mitigation=_quoted(page.mitigation, values),
        remedies=tuple(
            dataclasses.replace(
                r, text=_quoted(r.text, values), commands=tuple(shell.filled(c, values) for c in r.commands)
            )
            for r in page.remedies
        ),
        values=values,
        unfilled=tuple(unfilled),
        finding=finding,
    )


def _quoted(text: str, values: Mapping[str, str]) -> str:
    """Prose with the values in the commands of its fences."""
    return re.sub(
        r"(```sh\n)(.*?)(\n[ \t]*```)", lambda m: m[1] + shell.filled(m[2], values) + m[3], text, flags=re.DOTALL
    )


def _set(
    step: Step, finding: Finding | None, hints: Mapping[str, str], values: dict[str, str], unfilled: dict[str, None]
) -> Step:
    """The settings of a page with the finding's values."""
    text = step.text
    for command in shell.parse(step.text).commands():
        for name, word in command.sets:
            fixed = any(not isinstance(part, shell.Text) for part in word)
            example = "" if fixed else shell.expand_value(word, {}, lambda _: "")
            known = "" if fixed else _known(name, example, step.comment, finding, hints)
            if known:
                text = re.sub(rf"(?<![\w]){name}=(?:\"[^\"]*\"|'[^']*'|\S)*", f"{name}={known}", text)
            else:
                try:
                    known = shell.expand_value(word, values, lambda _: "")
                except shell.ShellError:
                    unfilled[name] = None
                    continue
                if not fixed and not _constant(known):
                    unfilled[name] = None
                if fixed and any(p.name in unfilled for p in word if isinstance(p, shell.Variable)):
                    unfilled[name] = None
            if name not in unfilled:
                values[name] = known
            else:
                values.pop(name, None)
    missing = tuple(name for name in step.sets if name in unfilled)
    return dataclasses.replace(step, command=shell.filled(text, values) if not missing else text, missing=missing)


def _asked(
    step: Step, finding: Finding | None, hints: Mapping[str, str], values: dict[str, str], unfilled: dict[str, None]
) -> Step:
    """``POD=$(kubectl …)``: asked for, unless the finding or a hint says it."""
    name = step.sets[0]
    known = _known(name, "", step.comment, finding, hints) if len(step.sets) == 1 else ""
    if known:
        # "-o name" writes the kind before the name, and the commands that follow count on it.
        if name == "POD" and "-o name" in step.text and "cut -d/" not in step.text:
            known = f"pod/{known}"
        values[name] = known
        return dataclasses.replace(
            step, kind=Kind.SET, command=f"{name}={known}", comment=step.comment or "of the finding", refused=""
        )
    for each in step.sets:
        values.pop(each, None)
    return _judged(step, values, unfilled)


def _constant(value: str) -> bool:
    """Whether an example holds in every cluster of the kind that the pages are about."""
    return value.startswith(("/", "kube-", "system:", "v1beta1.metrics")) or " " in value


def _known(name: str, example: str, comment: str, finding: Finding | None, hints: Mapping[str, str]) -> str:
    """The value of a variable, from the finding or a hint; empty when neither knows it."""
    if "any node" in comment:
        name, finding = "ANY_NODE", None
    if re.search(r"(?:clientConfig|spec)\.service\b", comment):
        # The Service behind a webhook or an API: the finding's own objects are those that it fails for.
        name, finding = f"BACKEND_{name}", None
    found = _from_finding(name, example, comment, finding) if finding else ""
    for value in (found, hints.get(name, "")):
        if value and _VALUE.fullmatch(value) and not (value.startswith("/") and name not in ("FILE", "STEM", "FOLDER")):
            return value
    return ""


def _from_finding(name: str, example: str, comment: str, finding: Finding) -> str:
    refs = (finding.subject, *finding.touches)
    if name == "NAMESPACE":
        return next((r.namespace for r in refs if r.namespace), "") or next(
            (r.name for r in refs if r.kind == "Namespace"), ""
        )
    if name in ("KIND", "OBJECT") and (name == "OBJECT" or example in ("configmap", "secret")):
        ref = next((r for r in refs if r.kind in ("ConfigMap", "Secret")), None)
        return (ref.kind.lower() if name == "KIND" else ref.name) if ref else ""
    if name == "KIND":
        return finding.subject.kind.lower()
    if name in _KINDS:
        ref = next((r for r in refs if r.kind in _KINDS[name]), None)
        return ref.name if ref else _from_evidence(name, finding)
    if name in ("PART", "COMPONENT") or (name == "NAME" and example in _STATIC):
        return _component(refs, finding)
    if name == "NAME":
        return _named(comment, finding, refs)
    return _from_evidence(name, finding)


def _named(comment: str, finding: Finding, refs: Sequence[Ref]) -> str:
    """NAME: of the kind that the page's comment speaks of, else the subject."""
    words = re.findall(r"[a-z]+", comment.lower())
    kinds = next((_MEANT[word] for word in words if word in _MEANT), None)
    if kinds is None or not finding.subject.kind or finding.subject.kind in kinds:
        return finding.subject.name if finding.subject.kind != "Cluster" else ""
    ref = next((r for r in refs if r.kind in kinds), None)
    if ref:
        return ref.name
    # "the workload of the finding", and the finding is about a pod that nothing owns: its name finds it as well.
    return finding.subject.name if kinds is _WORKLOADS and finding.subject.kind == "Pod" else ""


def _component(refs: Sequence[Ref], finding: Finding) -> str:
    """The control-plane component of a finding: by its pod's name, or by its manifest."""
    for ref in refs:
        for part in _STATIC:
            if ref.kind == "Pod" and ref.name.startswith(f"{part}-"):
                return part
    text = " ".join((*(e.command for e in finding.evidence), finding.message))
    match = re.search(r"/manifests/([a-z0-9.-]+)\.ya?ml", text)
    if match:
        return match[1]
    return next((part for part in _STATIC if re.search(rf"(?<![\w-]){part}(?![\w-])", text)), "")


_EVIDENCE: Mapping[str, tuple[str, ...]] = {
    "POD": (r"\b(?:logs|pod) (?:-\S+ )*(?:pod/)?([a-z0-9][a-z0-9.-]*)", r"\bpod/([a-z0-9][a-z0-9.-]*)"),
    "SERVICE": (r"\b(?:svc|service)s?[ /]([a-z0-9][a-z0-9-]*)",),
    "UNIT": (r"\bsystemctl (?:show|status|cat) (?:-\S+ )*([a-z][a-z0-9@.-]*)", r"-u ([a-z][a-z0-9@.-]*)"),
    "FILE": (r"(/[A-Za-z0-9_./-]+\.(?:ya?ml|crt|pem|conf|toml|json))",),
    "CLAIM": (r"\b(?:pvc|persistentvolumeclaim)s? ([a-z0-9][a-z0-9.-]*)",),
    "PV": (r"\b(?:pv|persistentvolume)s? ([a-z0-9][a-z0-9.-]*)",),
    "ACCOUNT": (r"system:serviceaccount:[a-z0-9-]+:([a-z0-9][a-z0-9.-]*)",),
    "INIT": (r"\blogs (?:\S+ )*-c ([a-z0-9][a-z0-9-]*)",),
}


#: What only the finding's own sentence names.
_MESSAGE: Mapping[str, tuple[str, ...]] = {
    "PORT": (r"\bport (\d{2,5})\b",),
    "TARGET": (r"\bleads to port (\d{2,5})\b",),
    "OTHER": (r"\b(?:listen on|declare) (\d{2,5})\b",),
    "IMAGE": (r"\bpull (\S+?)(?=:? )", r"\brun (\S+:\S+) on "),
    "REGISTRY": (r"\bpull ([a-z0-9.-]+(?:\.[a-z0-9-]+|:[0-9]+))/",),
    "HOST": (r"\bresolve ([a-z0-9][a-z0-9.-]*)", r"\bnames ([a-z0-9][a-z0-9.-]*) in "),
    "UPSTREAM": (r"\bupstream (\d+(?:\.\d+){3})",),
    "VERB": (r"\bmay not ([a-z]+) ",),
    "RESOURCE": (r"\bmay not [a-z]+ ([a-z][a-z0-9./-]*)",),
    "REQUEST": (r"\brequest (\S+) is",),
}


def _from_evidence(name: str, finding: Finding) -> str:
    """A value that only the evidence names."""
    if name == "NODE":
        return next((e.source for e in finding.evidence if e.source != "api"), "")
    for pattern in _MESSAGE.get(name, ()):
        if match := re.search(pattern, finding.message):
            return match[1]
    for pattern in _EVIDENCE.get(name, ()):
        for evidence in finding.evidence:
            if match := re.search(pattern, evidence.command):
                return match[1]
    return ""


# Reading an output


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    parts = []
    for part in re.split(r"(…|\.\.\.|\s+)", text):
        if part in ("…", "..."):
            parts.append(r".*?")
        elif part.isspace():
            parts.append(r"\s+")
        else:
            parts.append(re.escape(part))
    lead = r"(?<![\w-])" if re.match(r"\w", text) else ""
    tail = r"(?![\w-])" if re.search(r"\w$", text) else ""
    return re.compile(lead + "".join(parts) + tail)


def mark(block: Block, lines: Sequence[str]) -> Marks:
    """What these output lines of one of the block's steps say in the page's words."""
    marks: list[Mark] = []
    head = lines[0].split() if lines and lines[0].isupper() else []
    for number, line in enumerate(lines):
        for expect in block.expects:
            for match in _in_table(expect, head).finditer(line[:4096]):
                # The head of a table names its columns; that says nothing yet.
                if match.end() > match.start() and (number or not head):
                    marks.append(Mark(number, match.start(), match.end(), expect))
    branches = [b for b in block.branches if b.expects and _holds(b, marks, lines)]
    return Marks(marks=tuple(marks), branches=tuple(branches))


def _in_table(expect: Expect, head: Sequence[str]) -> re.Pattern[str]:
    """``ENDPOINTS <unset>`` of a table is ``<unset>`` below the heading ENDPOINTS."""
    name, _, value = expect.text.partition(" ")
    return _pattern(value) if value and name.isupper() and name in head else expect.pattern


def _holds(branch: Branch, marks: Sequence[Mark], lines: Sequence[str]) -> bool:
    """Whether an output meets the condition of a branch: any of the things that it names.

    That something is missing proves nothing: it may be another step that would have shown it.
    """
    texts = {e.text for e in branch.expects if e.wanted}
    hits = [lines[m.line] for m in marks if m.expect.text in texts]
    return any(not branch.numbers or any(re.search(rf"\b{n}\b", line) for n in branch.numbers) for line in hits)
