"""The keys, made of the bindings: what is not bound is not on the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdiag.tui.page import Line, line

#: The commands of the command line, with what they take.
COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("ctx", "[NAME]", "another context of the kubeconfig"),
    ("ns", "[NAME]", "read one namespace only; all: every one"),
    ("trace", "NAMESPACE/SERVICE", "follow a request; also ingress/NS/NAME and pod/NS/NAME"),
    ("node", "[NAME]", "one node"),
    ("runbook", "CHECK", "the page of a check"),
    ("timeline", "", "what happened, in order"),
    ("coverage", "", "what was seen, and what was not"),
    ("snapshot", "[DIR]", "save what was read"),
    ("report", "[FILE]", "write an incident report: .md or .html"),
    ("auto", "[SECONDS]", "look again and again; 0 ends that"),
    ("theme", "[NAME]", "other colours"),
    ("refresh", "", "read everything again"),
    ("help", "", "this page"),
    ("q", "", "quit"),
)


def help_page(sections: Mapping[str, Sequence[tuple[str, str]]]) -> list[Line]:
    """The page: for each section the keys and what they do."""
    lines: list[Line] = []
    for title, keys in sections.items():
        if not keys:
            continue
        lines += [line(), line((title.upper(), "head"))] if lines else [line((title.upper(), "head"))]
        width = max(len(key) for key, _ in keys)
        lines += [line((f"  {key:<{width}}  ", "key"), (what, ""), hang=width + 4) for key, what in keys]
    lines += [line(), line(("COMMANDS, AFTER :", "head"))]
    width = max(len(f"{name} {takes}") for name, takes, _ in COMMANDS)
    for name, takes, what in COMMANDS:
        lines.append(line((f"  {f'{name} {takes}':<{width}}  ", "key"), (what, ""), hang=width + 4))
    lines += [
        line(),
        line(("FILTER, AFTER /", "head")),
        line(("  words must all occur; ", ""), ("-n NAMESPACE", "code"), (" keeps one namespace", ""), hang=2),
    ]
    return lines
