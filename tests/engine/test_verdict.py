"""The verdict in few words: why something is unknown is said once, however many sources share the reason."""

from __future__ import annotations

from kdiag.engine.verdict import Verdict, unknown_reasons
from kdiag.model.result import Gap, Result, Status

REFUSED = "500: cannot read the log: dial tcp 10.89.0.12:10250: connect: connection refused"


def verdict(*gaps: Gap) -> Verdict:
    unknown = Result("application/container_crashes", Status.UNKNOWN, gaps=gaps)
    return Verdict(
        server="", context="", namespace="", version="", taken="", source="api",
        causes=(), results=(unknown,), nodes=("w1", "w2"),
    )  # fmt: skip


def test_the_logs_of_one_node_are_one_reason() -> None:
    gaps = [Gap(f"log of shop/web-{n}/web/current", REFUSED) for n in range(5)]
    ((reason, checks),) = unknown_reasons(verdict(*gaps))
    assert reason == f"logs of 5 containers (shop/web-0/web, shop/web-1/web and 3 more): {REFUSED}"
    assert checks == ["application/container_crashes"]


def test_one_log_is_called_by_its_name() -> None:
    ((reason, _),) = unknown_reasons(verdict(Gap("log of shop/web-0/web/previous", REFUSED)))
    assert reason.startswith("log of shop/web-0/web/previous: ")


def test_of_a_node_its_name_is_enough() -> None:
    ((reason, _),) = unknown_reasons(verdict(Gap("w2 units", "timed out"), Gap("w1 kernel", "timed out")))
    assert reason == "w1, w2: timed out"
