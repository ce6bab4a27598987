"""Lines of logs, whoever wrote them."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from kdiag.facts.logs import ContainerLog, LogLine, Logs, whole_messages
from kdiag.model.observation import Observation


def joined(*texts: str) -> list[str]:
    return [line.text for line in whole_messages(map(LogLine, texts))]


def test_a_message_of_several_lines_is_one() -> None:
    # kubelet v1.36.3
    assert joined(
        "I first",
        'E1122 19:21:26.617546   25921 run.go:72] "command failed" err=<',
        "\tfailed to validate kubelet flags: unknown 'kubernetes.io' labels specified with --node-labels: [a]",
        '\tit says "so"',
        ' > pod="x"',
        "I last",
    ) == [
        "I first",
        'E1122 19:21:26.617546   25921 run.go:72] "command failed" err="failed to validate kubelet flags: unknown'
        r""" 'kubernetes.io' labels specified with --node-labels: [a]; it says \"so\"" """
        'pod="x"',
        "I last",
    ]


def test_a_message_without_its_end_stays_as_it_is() -> None:
    assert joined("err=<", "\tcut") == ["err=<", "\tcut"]
    assert joined("err=<", "\tcut", "other", " >") == ["err=<", "\tcut", "other", " >"]


@given(st.lists(st.sampled_from(["err=<", "\ta", " >", "b", "=<", ""]), max_size=40))
def test_loses_no_text(texts: list[str]) -> None:
    said = "".join(joined(*texts))
    assert sum(said.count(c) for c in "ab") == sum(t.count(c) for t in texts for c in "ab")


def test_the_name_of_a_log_that_was_not_read_is_made_visible() -> None:
    builder = Logs.builder()
    builder.feed(Observation("api", "log", name="shop/\x1b[2Jweb/app/current", error="500"))
    assert [gap.source for gap in builder.finish().gaps] == ["log of shop/␛[2Jweb/app/current"]


def test_of_a_log_that_is_longer_than_was_asked_for_the_end_is_read() -> None:
    builder = Logs.builder()
    builder.feed(Observation("api", "log", name="a/b/c/current", body=b"".join(b"%d\n" % n for n in range(50_000))))
    (log,) = builder.finish().items  # type: ignore[attr-defined]
    assert (len(log.lines), log.lines[-1].text) == (1000, "49999")


def test_the_logs_of_a_pod_are_looked_up_the_previous_one_first() -> None:
    class Counted(tuple[ContainerLog, ...]):
        rounds = 0

        def __iter__(self) -> Iterator[ContainerLog]:
            Counted.rounds += 1
            return super().__iter__()

    logs = Logs(
        items=Counted(
            ContainerLog(namespace="shop", pod=f"p{n}", container=name, previous=name == "b")
            for n in range(100)
            for name in ("a", "b")
        )
    )
    assert [log.container for n in range(100) for log in logs.of("shop", f"p{n}")] == ["b", "a"] * 100
    assert [log.container for log in logs.of("shop", "p1", "a")] == ["a"]
    assert logs.of("web", "p1") == ()
    assert Counted.rounds == 1
