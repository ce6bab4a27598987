"""``kdiag node`` as text: fits a terminal, says why it does not see, and takes nothing hostile through."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from kdiag.engine.intake import sources
from kdiag.engine.library import checks as library
from kdiag.engine.library import choose
from kdiag.engine.verdict import judge
from kdiag.facts.base import NodeCommand
from kdiag.model.observation import Observation
from kdiag.report.node import Picture, picture, render_node, render_node_json
from kdiag.report.style import Style, visible_length
from tests.recording import FIXTURES, all_facts, facts_of, load, observations

BROKEN = FIXTURES / "control_plane" / "manifest_unparsable" / "broken.yaml"


def seen(*more: Observation, name: str = "cp1") -> Picture:
    facts = facts_of([*observations(load(BROKEN)), *more])
    verdict = judge(choose(()), facts, library())
    return picture(facts, verdict, name)


@pytest.mark.parametrize("width", [60, 80, 140])
def test_rows_fit_the_terminal(width: int) -> None:
    text = render_node(seen(), Style(color=True, width=width))
    rows = text.split("\n\n")[-1].splitlines()
    assert rows
    assert all(visible_length(line) <= width for line in rows), [r for r in rows if visible_length(r) > width]


def test_bars_errors_and_days() -> None:
    now = datetime.now(UTC)
    df = (
        b"Filesystem Type 1024-blocks Used Available Capacity Mounted on\n"
        b"/dev/sda1 ext4 1000000 950000 50000 95% /\n"
        b"/dev/sdb1 ext4 1000000 100000 900000 10% /var/lib/etcd\n"
    )
    journal = b"".join(
        b'{"MESSAGE":"E1122 10:00:0%d.1 7 pod.go:1] \\"Error syncing pod\\" pod=\\"a\\"","PRIORITY":"6","_PID":"7",'
        b'"SYSLOG_IDENTIFIER":"kubelet","__REALTIME_TIMESTAMP":"%d"}\n' % (i, int(now.timestamp() * 1e6))
        for i in range(5)
    )
    found = seen(
        Observation("node", "disks", "cp1", body=df),
        Observation("node", "inodes", "cp1", body=b""),
        Observation("node", "journal-kubelet", "cp1", body=journal),
        Observation("node", "journal-runtime", "cp1", error="sudo is refused for user guest: a password is required"),
        Observation("node", "listeners", "cp1", error="sudo is refused for user guest: a password is required"),
    )
    text = render_node(found, Style(width=100))
    assert "disk         [################### ]".replace(" ]", ".]") in text
    assert " 95% " in text
    assert "5 errors in the last 5 lines" in text
    assert "(5 times)" in text
    assert "not seen     ? runtime log, ports: sudo is refused for user guest: a password is required" in text


def test_an_error_whose_meaning_is_known_comes_first_with_it_and_noise_is_none() -> None:
    said = (
        'E1122 10:00:01.1 7 file_linux.go:59] "Unable to read config path" err="path does not exist, ignoring"',
        'E1122 10:00:02.1 7 controller.go:145] "Failed to ensure lease exists, will retry" err="refused"',
        'E1122 10:00:03.1 7 pod.go:1] "Error syncing pod" pod="a"',
    )
    journal = "\n".join(
        json.dumps(
            {"MESSAGE": text, "PRIORITY": "6", "_PID": "7", "SYSLOG_IDENTIFIER": "kubelet", "__REALTIME_TIMESTAMP": at}
        )
        for at, text in zip(("1795341601000000", "1795341602000000", "1795341603000000"), said, strict=True)
    )
    text = render_node(seen(Observation("node", "journal-kubelet", "cp1", body=journal.encode())), Style(width=200))
    assert "2 errors in the last 3 lines" in text
    assert "Unable to read config path" not in text
    lines = text.splitlines()
    first = next(line for line in lines if "the kubelet does not get its status through to the API server: " in line)
    assert lines.index(first) < next(n for n, line in enumerate(lines) if "Error syncing pod" in line)


@pytest.mark.parametrize(
    "evil", [b"\x1b[2J\x1b]0;gone\x07", b"\xff\xfe\x00\x01" * 100, b"a" * 300_000, b"", b"\n" * 5000]
)
def test_whatever_a_node_says_is_shown_safely(evil: bytes) -> None:
    answers = [
        Observation("node", s.key, "cp1", name=s.name, body=evil[: s.limit])
        for s in sources(all_facts())
        if isinstance(s, NodeCommand)
    ]
    found = seen(*answers)
    for text in (render_node(found, Style(width=80), wide=True), render_node_json(found)):
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "\x00" not in text


def test_a_node_that_cannot_be_read_says_why_once() -> None:
    facts = facts_of([Observation("node", "node", "w1", error="10.0.0.2:22: connection refused")])
    found = picture(facts, judge([], facts, library()), "w1")
    assert found.refused
    assert not found.read
    assert render_node(found, Style(width=80)).count("connection refused") == 1
