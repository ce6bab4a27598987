"""Reading a page of Markdown: which lines are commands, what its prose tells to look for, where it leads."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kdiag.engine import readonly, shell
from kdiag.engine.runbook.page import Block, Branch, Expect, Kind, Page, Remedy, Step
from kdiag.errors import UsageError

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
    return judged(Step(number=number, kind=Kind.RUN, text=line, command=line, comment=comment, sets=sets), values, ())


def judged(step: Step, values: Mapping[str, str], missing: Iterable[str]) -> Step:
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
