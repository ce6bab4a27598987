"""The verdict: causes at the left, the selected one beside them, its runbook beside that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container

from kdiag.model.result import Severity
from kdiag.model.text import plural
from kdiag.tui.glyphs import literal
from kdiag.tui.model import GROUPS, Filter, Row
from kdiag.tui.page import Line, Span, line
from kdiag.tui.pages.finding import STYLES, finding_page
from kdiag.tui.screens.base import NARROW, BaseScreen
from kdiag.tui.widgets.banner import Banner
from kdiag.tui.widgets.bar import Bar
from kdiag.tui.widgets.page import PageView
from kdiag.tui.widgets.prompt import Ask, Prompt
from kdiag.tui.widgets.rows import RowsView

if TYPE_CHECKING:
    from kdiag.tui.walk import Walk

_LEVELS = (None, Severity.WARNING, Severity.ERROR, Severity.CRITICAL)


class VerdictScreen(BaseScreen):
    """The screen that everything starts from."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "runbook", "runbook", show=False, tooltip="the runbook page of the finding, beside it"),
        Binding("y", "copy", "copy", tooltip="copy the command under the cursor, or the finding's first"),
        Binding(
            "slash", "filter", "filter", key_display="/", priority=True, tooltip="filter as you type; on a page: find"
        ),
        Binding("minus", "filter('-n ')", "filter by namespace", show=False, key_display="-", priority=True),
        *(
            Binding(str(n), f"group({n})", f"only {name.replace('_', ' ')}", show=False)
            for n, name in enumerate(GROUPS, 1)
        ),
        Binding("0", "group(0)", "all groups and severities", show=False),
        Binding("exclamation_mark", "severity", "only this severity and worse", show=False, key_display="!"),
        Binding("v", "verify", "verify", tooltip="look again at this finding until it is gone"),
        Binding("t", "trace", "trace", tooltip="follow a request from the object of the finding"),
        Binding("n", "node", "node", tooltip="everything about the finding's node, or any other"),
        Binding("x", "run", "run step", tooltip="run the step under the cursor; it only looks"),
        Binding("X", "run_all", "run all", tooltip="run all steps of the page that only look"),
        Binding("escape", "back", "back", show=False, tooltip="close the page; show everything; stop reading"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.filter = Filter()

    def middle(self) -> ComposeResult:
        """The panes."""
        yield Banner(id="banner")
        with Container(id="body"):
            yield RowsView(id="list")
            yield PageView(id="detail")
            yield PageView(id="book")
        yield Bar(id="cover")
        yield Ask(id="ask")

    # Parts

    @property
    def rows(self) -> RowsView:
        """The list of findings."""
        return self.query_one("#list", RowsView)

    @property
    def detail(self) -> PageView:
        """The page of the selected finding."""
        return self.query_one("#detail", PageView)

    @property
    def prompt(self) -> Prompt:
        """The line that is typed into."""
        return self.query_one("#prompt", Prompt)

    def on_mount(self) -> None:
        """Show what is known already."""
        super().on_mount()
        self.rows.told = self._selected
        self.set_focus(self.rows)
        self.show_verdict()
        self.show_progress()

    # What is shown

    @property
    def _whole(self) -> bool:
        """Whether all of it stands: a reading may fail before it is made, and tick once more while it is taken down."""
        return all(self.query(name) for name in ("#head", "#cover", "#banner", "#list", "#detail", "#book"))

    def show_verdict(self) -> None:
        """Show the tree as it is now."""
        if not self._whole:
            return
        case = self.kdiag.case
        self.rows.say(self._nothing())
        self.rows.show(case.tree)
        self.show_progress()

    @property
    def _narrow(self) -> bool:
        """Whether the panes stand above each other."""
        return self.size.width < NARROW

    def on_resize(self) -> None:
        """The lines at the top and the bottom say what there is room for."""
        self.show_progress()

    def show_progress(self) -> None:
        """Show how far the reading is, and what was seen."""
        if not self._whole:
            return
        self.query_one("#head", Bar).show(*self._head())
        self.query_one("#cover", Bar).show(*self._covered())
        self.query_one("#banner", Banner).say(self._note())
        if not self.rows.rows:
            self.rows.say(self._nothing())

    def _head(self) -> tuple[list[Span], list[Span]]:
        case, signs = self.kdiag.case, self.kdiag.signs
        dot = f" {signs.dot} "
        verdict = case.tree.verdict if case.tree else None
        left: list[Span] = [("kdiag ", "brand"), (" ", "")]
        where = ""
        if verdict is not None:
            # What is cut off on a narrow screen is what is needed least: that this is a recording, or whose cluster it
            # is, stands first.
            parts = [verdict.context, f"namespace {verdict.namespace}" if verdict.namespace else "",
                     verdict.server.removeprefix("https://")]  # fmt: skip
            if verdict.source.startswith("snapshot"):
                parts.insert(0, f"recording {verdict.taken[:16].replace('T', ' ')} UTC")
            where = dot.join(p for p in parts if p) or verdict.source
        elif case.options.snapshot:
            where = case.options.snapshot
        else:
            options = case.options
            asked = (options.context, f"namespace {options.namespace}" if options.namespace else "")
            where = dot.join(part for part in asked if part)
        left.append((literal(where, plain=signs.plain), "bold"))
        right: list[Span] = []
        if verdict is not None and (verdict.causes or (case.tree and case.tree.final)):
            right.append((plural(len(verdict.causes), "cause"), "bold" if verdict.causes else "good"))
            if case.tree and not case.tree.final:
                right.append((" so far", "warn"))
            if verdict.symptoms:
                right.append((f"{dot}{plural(verdict.symptoms, 'symptom')}", ""))
            if verdict.infos and not self._narrow:
                right.append((f"{dot}{plural(len(verdict.infos), 'remark')}", "dim"))
        if case.reading.running:
            if verdict is not None and case.tree and case.tree.final:  # what stands here is of the reading before
                right.append((f"{dot}as of {verdict.taken[11:19]} UTC", "dim"))
            right.append((f"{dot}reading {case.reading.elapsed:.0f} s", "warn"))
        elif case.cancelled:
            right.append((f"{dot}cancelled", "warn"))
        elif verdict is not None and case.head and not case.options.snapshot:
            right.append((f"{dot}{verdict.taken[11:19]} UTC{dot}{case.head.seconds:.1f} s", "dim"))
        if self.kdiag.auto:
            right.append((f"{dot}every {self.kdiag.auto:.0f} s", "new"))
        return left, right

    def _covered(self) -> tuple[list[Span], list[Span]]:
        case, signs = self.kdiag.case, self.kdiag.signs
        dot = f" {signs.dot} "
        left: list[Span] = []
        if self.filter.on:
            shown = case.tree.count(self.filter) if case.tree else 0
            total = len(case.tree.verdict.causes) if case.tree else 0
            left += [
                (f"filter {literal(str(self.filter), plain=signs.plain)}: {shown} of {total}", "new"),
                (dot, "dim"),
            ]
        if self.kdiag.verifying is not None:
            left += [(literal(self.kdiag.verifying.words, plain=signs.plain), "new"), (dot, "dim")]
        if case.reading.running:
            left += [("reading ", "warn"), (literal(", ".join(case.reading.words()), plain=signs.plain), ""),
                     ("  esc cancels", "dim")]  # fmt: skip
            return left, []
        if case.tree is None:
            return left, []
        c = case.tree.coverage
        total = c.passed + c.failed + c.unknown + c.skipped + c.broken
        failed = (f"{c.failed} failed", "error" if c.failed else "dim")
        if self._narrow and c.unknown:  # what could not be seen, and why, is told before what is well
            left += [failed, (f"{dot}{c.unknown} of {plural(total, 'check')} unknown", "warn")]
        else:
            left += [(f"{plural(total, 'check')}: ", "dim"), (f"{c.passed} passed", "good"), (dot, "dim"), failed]
            if c.unknown:
                left.append((f"{dot}{c.unknown} unknown", "warn"))
            if c.skipped:
                left.append((f"{dot}{c.skipped} n/a", "dim"))
        if c.broken:
            left.append((f"{dot}{c.broken} broke", "error"))
        if c.reasons:
            left.append((f"{dot}{literal(c.reasons[0][0], plain=signs.plain)}", "warn"))
            if len(c.reasons) > 1:
                return left, [(f"{len(c.reasons) - 1} more: u", "dim")]
        return left, []

    def _note(self) -> str:
        case, signs = self.kdiag.case, self.kdiag.signs
        if case.failure is not None:
            before = " (below: what was read before)" if case.tree else ""
            return literal(f"{case.failure.text}{before}", plain=signs.plain)
        notes = case.reading.notes or (list(case.tree.verdict.notes) if case.tree else [])
        more = f"  (+{len(notes) - 1}: u)" if len(notes) > 1 else ""
        return literal(notes[0], plain=signs.plain) + more if notes else ""

    def _nothing(self) -> list[Line]:
        """What stands in the place of the list when it is empty."""
        case, signs = self.kdiag.case, self.kdiag.signs
        tree = case.tree
        if case.failure is not None and tree is None:
            return [
                line(("nothing could be read", "critical")), line(),
                line((literal(case.failure.text, plain=signs.plain), "")), line(),
                line(("R tries again, :ctx chooses another cluster, q quits", "dim")),
            ]  # fmt: skip
        if tree is None or (case.reading.running and not tree.final):
            return [line(("reading", "bold"), (signs.dots, "dim"))]
        if tree.verdict.causes or tree.verdict.infos:
            return [line((f"nothing matches {literal(str(self.filter), plain=signs.plain)}", "dim")),
                    line(("esc shows everything", "dim"))]  # fmt: skip
        c = tree.coverage
        nodes = len(case.head.nodes) if case.head else 0
        if c.complete and c.skipped and not c.passed:
            return [line(("? nothing was looked at", "warn")), line(),
                    line((f"none of {plural(c.skipped, 'check')} applies here", ""))]  # fmt: skip
        if c.complete:
            return [line((f"{signs.gone} nothing is wrong", "good")), line(),
                    line((f"{plural(c.passed, 'check')} passed, {c.skipped} do not apply; {plural(nodes, 'node')} "
                          "and everything that was asked for was seen.", ""))]  # fmt: skip
        return [line(("? nothing found, but not everything was seen", "warn")), line(),
                line((f"{plural(c.passed, 'check')} passed, {c.unknown} could not see what they need:", "")),
                *(line((literal(reason, plain=signs.plain), "dim"), hang=2, bar="  ") for reason, _ in c.reasons[:5]),
                line(), line(("u shows all of it", "dim"))]  # fmt: skip

    # Messages

    def _selected(self, row: Row | None) -> None:
        """Show the finding that is selected; where there is none, what is said instead has all the room."""
        if not self._whole:
            return
        self.set_class(row is None, "-none")
        if row is None or row.node is None:
            self.detail.show(self._group_page(row) if row else [])
        else:
            tree = self.kdiag.case.tree
            changed = tree.verdict.changed(row.node) if tree else []
            self.detail.show(finding_page(row, self.kdiag.signs, changed=changed))
        if self.has_class("-book") and row is not None and row.node is not None:
            self.open_page(row.node.check.id, focus=False)

    def _group_page(self, row: Row) -> list[Line]:
        signs = self.kdiag.signs
        found = [line((row.title, "title")), line((plural(row.size, "finding"), "dim")), line()]
        for child in row.children[:50]:
            if child.severity is not None:
                sign = (f"{signs.severity[child.severity]} ", STYLES[child.severity])
                found.append(line(sign, (literal(child.title, plain=signs.plain), ""), hang=2))
        return found

    def on_rows_view_chosen(self, event: RowsView.Chosen) -> None:
        """Enter on a finding: its runbook."""
        self.action_runbook()

    def on_page_view_acted(self, event: PageView.Acted) -> None:
        """Enter on a line of a page."""
        self.kdiag.act(event.action, event.page)

    def on_prompt_typed(self, event: Prompt.Typed) -> None:
        """Filter as it is typed."""
        if event.kind == "/" and not self.searching:
            self._filtered(text=event.text)

    def on_prompt_entered(self, event: Prompt.Entered) -> None:
        """The filter stays; a command is carried out."""
        searching = self.searching
        self.prompt.shut()
        if event.kind == ":":
            self.set_focus(self.prompt.origin or self.rows)
            self.kdiag.command(event.text)
        elif searching:
            self.set_focus(self.query_one("#book", PageView))
            if event.text and not self.query_one("#book", PageView).find(event.text):
                self.kdiag.say(f"{event.text!r} is not on this page")
        else:
            self.set_focus(self.rows)

    def on_prompt_left(self, event: Prompt.Left) -> None:
        """Escape: as if nothing had been typed."""
        searching = self.searching
        self.prompt.shut()
        if event.kind == "/" and not searching:
            self._filtered(text="")
            self.set_focus(self.rows)
        else:
            self.set_focus(self.prompt.origin or self.rows)

    # Filters

    @property
    def searching(self) -> bool:
        """Whether what is typed is looked for in the runbook, and does not filter the list."""
        return self._searching

    _searching = False

    def _filtered(self, **changes: object) -> None:
        import dataclasses

        self.filter = dataclasses.replace(self.filter, **changes)  # type: ignore[arg-type]
        self.rows.filtered(self.filter)
        self.show_progress()

    def action_filter(self, text: str = "") -> None:
        """Begin to type a filter; on a runbook page, what to look for."""
        book = self.query_one("#book", PageView)
        self._searching = book.has_focus
        if self._searching:
            self.prompt.open("/", hint="find on this page")
        else:
            self.prompt.open("/", text or self.filter.text, hint="words; -n NAMESPACE")
            if text:
                self._filtered(text=text)

    def filter_by(self, text: str) -> None:
        """Show only findings with these words."""
        self._filtered(text=text)

    def only_group(self, name: str) -> None:
        """Show this group only; no name: all."""
        self._filtered(groups=frozenset({name} if name else ()))

    def at_least(self, least: Severity | None) -> None:
        """Show what is at least this bad; None: everything."""
        self._filtered(least=least)

    def find(self, words: str) -> bool:
        """Go to these words on the runbook page; False when they are not there, or when there is no page."""
        return self.has_class("-book") and self.query_one("#book", PageView).find(words)

    def action_group(self, number: int) -> None:
        """Show one group only, or all again."""
        if number == 0:
            self._filtered(groups=frozenset(), least=None, text="")
        else:
            group = GROUPS[number - 1]
            self._filtered(groups=self.filter.groups ^ {group})

    def action_severity(self) -> None:
        """Show what is at least this bad."""
        self._filtered(least=_LEVELS[(_LEVELS.index(self.filter.least) + 1) % len(_LEVELS)])

    # Keys

    def action_back(self) -> None:
        """Close the runbook; else take the filter away; else stop reading."""
        if self.has_class("-book"):
            self.shut_book()
        elif self.focused is not self.rows:
            self.set_focus(self.rows)
        elif self.filter.on:
            self.action_group(0)
        elif self.kdiag.case.cancel():
            self.show_verdict()

    @property
    def selected(self) -> Row | None:
        """The finding that is selected."""
        row = self.rows.selected
        return row if row is not None and row.node is not None else None

    def action_runbook(self) -> None:
        """Show the runbook page of the finding beside it."""
        row = self.selected
        if row is not None and row.node is not None:
            self.open_page(row.node.check.id)

    def open_page(self, check_id: str, *, focus: bool = True) -> None:
        """Show a runbook page; its commands name the objects of the selected finding where that is its check."""
        from kdiag.errors import UsageError

        try:
            self.walk = self.kdiag.walk(check_id, self.selected)
        except UsageError as exc:
            self.kdiag.say(str(exc), bad=True)
            return
        self.add_class("-book")
        self.query_one("#book").display = True
        self.refresh_bindings()
        self.show_book()
        if focus:
            self.set_focus(self.query_one("#book", PageView))

    def shut_book(self) -> None:
        """Put the runbook page away."""
        self.remove_class("-book")
        self.query_one("#book").display = False
        self.refresh_bindings()
        self.set_focus(self.rows)

    def show_book(self) -> None:
        """Show the runbook page as it is now."""
        if self.walk is not None:
            book = self.query_one("#book", PageView)
            same = self.walk is self._shown_walk
            book.show(self.walk.lines(self.kdiag.signs), keep=same)
            if not same:
                book.start("run")
            self._shown_walk = self.walk

    walk: Walk | None = None
    _shown_walk: Walk | None = None

    def action_copy(self) -> None:
        """Copy the command under the cursor, or the first of the finding."""
        page = self.focused if isinstance(self.focused, PageView) else self.detail
        current = page.current
        text = (
            current.copies if current and current.copies else next((one.copies for one in page.lines if one.copies), "")
        )
        self.kdiag.copy(text)

    def action_trace(self) -> None:
        """Follow a request from the object of the finding."""
        row = self.selected
        refs = [r for n in row.node.walk() for r in (n.finding.subject, *n.finding.touches)] if row and row.node else []
        ref = next((r for kind in ("Ingress", "Service", "Pod") for r in refs if r.kind == kind), None)
        if ref is None:
            self.kdiag.say("this finding names no Service, Ingress or Pod: :trace NAMESPACE/SERVICE follows one")
        else:
            self.kdiag.show_trace(ref.kind, ref.namespace, ref.name)

    def action_node(self) -> None:
        """Show the node of the finding, or let one be chosen."""
        row = self.selected
        name = _node_of(row, self.kdiag.case.head.nodes if self.kdiag.case.head else ()) if row else ""
        if name:
            self.kdiag.show_node(name)
        else:
            self.kdiag.choose_node()

    def action_verify(self) -> None:
        """Look again at this finding until it is gone."""
        row = self.selected
        if row is not None:
            self.kdiag.verify(row)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Steps can be run where a runbook page is open; what is typed into a line is text."""
        if action == "filter":
            return not self.prompt.on
        return self.has_class("-book") if action in ("run", "run_all") else True

    def action_run(self) -> None:
        """Run the step under the cursor."""
        book = self.query_one("#book", PageView)
        action = book.current.action if book.has_focus and book.current else None
        if self.walk is not None and action is not None and action.verb == "run":
            book.aim()
            self.kdiag.run_steps(self.walk, [int(action.value)])
        else:
            self.kdiag.say("put the cursor on a step of the page: x runs it, X runs all")

    def run_step(self, number: str) -> None:
        """Run the step of that place among those that can be run."""
        steps = self.walk.runnable if self.walk is not None and self.has_class("-book") else []
        if not number.isdecimal() or not 1 <= int(number) <= len(steps):
            self.kdiag.say(f"there is no step {number!r}: this page has {len(steps)} that can be run", bad=True)
        elif self.walk is not None:
            book = self.query_one("#book", PageView)
            book.start("run", str(steps[int(number) - 1].number))
            book.aim()
            self.kdiag.run_steps(self.walk, [steps[int(number) - 1].number])

    def action_run_all(self) -> None:
        """Run all steps of the page that only look."""
        if self.walk is not None:
            book = self.query_one("#book", PageView)
            book.start("run")
            book.aim()  # what is run is seen
            self.kdiag.run_steps(self.walk, [s.number for s in self.walk.runnable])


def _node_of(row: Row, nodes: Sequence[str]) -> str:
    """The node that a finding is about, sits on or was seen on."""
    if row.node is None:
        return ""
    for node in row.node.walk():
        finding = node.finding
        for ref in (finding.subject, *finding.touches):
            if ref.kind == "Node" and ref.name in nodes:
                return ref.name
        for evidence in finding.evidence:
            if evidence.source in nodes:
                return evidence.source
        for name in nodes:
            if finding.subject.kind == "Pod" and finding.subject.name.endswith(f"-{name}"):
                return name
    return ""
