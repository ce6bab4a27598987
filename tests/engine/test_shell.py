"""Command lines are read as a shell reads them, or not at all."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdiag.engine.shell import ShellError, Substitution, expand, filled, parse


def words(text: str, **values: str) -> list[str]:
    """The arguments of the one command of a line."""
    (command,) = parse(text).commands()
    return [a.text for a in expand(command, values, lambda _: pytest.fail("nothing is to be asked"))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kubectl get pods", ["kubectl", "get", "pods"]),
        ("kubectl  -n\tshop   get pods  # all of them", ["kubectl", "-n", "shop", "get", "pods"]),
        ("echo a#b '#c' \"#d\"", ["echo", "a#b", "#c", "#d"]),
        ("grep 'a b' \"c d\" e\\ f", ["grep", "a b", "c d", "e f"]),
        ('a \'it\'\'s\' "don\'t" "say \\"hi\\"" "\\x"', ["a", "its", "don't", 'say "hi"', "\\x"]),
        ("a \\\n  b", ["a", "b"]),
        ("a -o jsonpath='{.x}{\"\\n\"}'", ["a", "-o", 'jsonpath={.x}{"\\n"}']),
        ("a \"\" ''", ["a", "", ""]),
        ("a $", ["a", "$"]),
        ("a /var/log/*/x", ["a", "/var/log/*/x"]),
    ],
)
def test_splits_words_as_a_shell_does(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a "$X"', ["a", "p q"]),
        ("a $X", ["a", "p", "q"]),
        ('a "${X}y"', ["a", "p qy"]),
        ("a y$X", ["a", "yp", "q"]),
        ("a $X-z", ["a", "p", "q-z"]),
        ("a '$X'", ["a", "$X"]),
        ('a "\\$X"', ["a", "$X"]),
        ("a $EMPTY b", ["a", "b"]),
        ('a "$EMPTY" b', ["a", "", "b"]),
        ('a "${POD#pod/}"', ["a", "web-1"]),
    ],
)
def test_puts_values_in_as_a_shell_does(text: str, expected: list[str]) -> None:
    assert words(text, X="p q", EMPTY="", POD="pod/web-1") == expected


@given(st.lists(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=8), max_size=5))
def test_reads_back_whatever_was_quoted(arguments: list[str]) -> None:
    text = shlex.join(["a", *arguments])
    if all(c.isprintable() for c in text):
        assert words(text) == ["a", *arguments]


_ALPHABET = st.sampled_from([*"ab'\"\\ $#;|&*?~{}()<>=-\n\t", "$X", "${X}", "2>&1", "||", "&&"])


@given(st.lists(_ALPHABET, max_size=12).map("".join))
def test_agrees_with_a_real_shell_on_every_line_that_it_takes(tail: str) -> None:
    text = f"printf '<%s>' a{tail}"
    try:
        script = parse(text)
    except ShellError:
        return
    commands = list(script.commands())
    if len(commands) != 1 or commands[0].sets or list(script.substitutions()):
        return
    try:
        arguments = expand(commands[0], {"X": "p q"}, lambda _: "")
    except ShellError:
        return
    ours = "".join(f"<{a.text}>" for a in arguments[2:]) or "<>"
    real = subprocess.run(
        ["bash", "--norc", "-f", "-c", f"X='p q'; {text}"], capture_output=True, text=True, timeout=10, check=False
    )
    assert real.stdout == ours, text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a > f",
            "a >> f",
            "a < f",
            "a 2> f",
            "a &> f",
            "a <<E\nx\nE",
            "a <<< x",
            "a >&2",
            "a 2>&3",
            "a <(b)",
            "a >(b)",
        ),
        *(
            "a &",
            "a & b",
            "a |& b",
            "a ;; b",
            "(a)",
            "{ a; }",
            "a `b`",
            "a $((1))",
            "a $'x'",
            'a $"x"',
            "a ~/x",
            "a b=~",
            "a b=c:~/d",
            "a {b,c}",
        ),
        *(
            "if a; then b; fi",
            "for x in y; do a; done",
            "while a; do b; done",
            "case a in b) c;; esac",
            "! a",
            "[[ a ]]",
        ),
        *("function f { a; }", "f() { a; }", "time a", "coproc a", "select x in a; do b; done", "until a; do b; done"),
        *("X=1 a", "a $1", "a $@", "a $?", "a $$", "a $!", "a $*", "a ${X:-b}", "a ${!X}", "a ${X/a/b}", "a ${#X}"),
        *("a 'b", 'a "b', "a \\", "a $(b", "a |", "| a", "a ||", "&& a", "", "   ", "# only a comment", "a $()"),
        *("a \x1b[31m", "a \x00b", "a \u202eb", "a\rb", "a \u2028 b", "a " + "x" * 9000),
        "a $(b $(c $(d $(e $(f)))))",
    ],
)
def test_refuses_what_is_more_than_plain_commands(text: str) -> None:
    with pytest.raises(ShellError):
        parse(text)


def test_takes_pipes_and_sequences_apart() -> None:
    script = parse("a | b x; c && d || e\nf 2>/dev/null")
    assert [(p.after, len(p.commands)) for p in script.pipelines] == [
        (";", 2),
        (";", 1),
        ("&&", 1),
        ("||", 1),
        (";", 1),
    ]


def test_finds_what_is_asked_first() -> None:
    script = parse('POD=$(kubectl get pods | head -n 1) && a "$POD"')
    assert [len(list(inner.commands())) for inner in script.substitutions()] == [2]
    (part,) = next(iter(script.commands())).sets[0][1]
    assert isinstance(part, Substitution)


def test_writes_arguments_for_a_shell_with_only_file_names_left_open() -> None:
    (command,) = parse("tail -n 2 /var/log/pods/kube-*/*.log 'a*b' \"c d\"").commands()
    arguments = expand(command, {}, lambda _: "")
    assert [a.shell for a in arguments] == ["tail", "-n", "2", "/var/log/pods/kube-*/*.log", "'a*b'", "'c d'"]
    assert [a.glob for a in arguments] == [False, False, False, True, False, False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('kubectl -n "$NAMESPACE" get pods', "kubectl -n shop get pods"),
        ("ssh $NODE 'echo $NODE'", "ssh w1 'echo $NODE'"),
        ('ssh "$NODE" "sudo grep x /a/$NODE.yaml"', 'ssh w1 "sudo grep x /a/w1.yaml"'),
        ('get "$NAMESPACE/$NODE"', 'get "shop/w1"'),
        ('get "$OTHER"', 'get "$OTHER"'),
        ('get "${NODE}x" \\$NODE', 'get "w1x" \\$NODE'),
        ('get "$ODD"', 'get "$ODD"'),
        ('get "it\'s $NODE"', 'get "it\'s w1"'),
    ],
)
def test_fills_in_values_as_a_person_would_type_them(text: str, expected: str) -> None:
    assert filled(text, {"NAMESPACE": "shop", "NODE": "w1", "ODD": "a b; rm -rf /"}) == expected
