"""How long a preStop hook sleeps, and what load balancer annotations say."""

from __future__ import annotations

import pytest

from kdiag.facts import Exec, Handler, Sleep
from kdiag.facts.serving import attribute, sleep_seconds


@pytest.mark.parametrize(
    ("command", "seconds"),
    [
        (("sleep", "20"), 20),
        (("/bin/sleep", "20s"), 20),
        (("/bin/sh", "-c", "sleep 20"), 20),
        (("sh", "-c", "sleep 15 && nginx -s quit; sleep 5"), 20),
        (("bash", "-c", "/usr/bin/sleep 0.5m"), 30),
        (("sh", "-c", "asleep 20"), 0),
        (("sh", "-c", "sleep $DELAY"), 0),
        (("nginx", "-s", "quit"), 0),
    ],
)
def test_reads_how_long_a_command_sleeps(command: tuple[str, ...], seconds: float) -> None:
    assert sleep_seconds(Handler(exec=Exec(command=command))) == seconds


def test_reads_the_native_sleep() -> None:
    assert sleep_seconds(Handler(sleep=Sleep(seconds=7))) == 7


def test_says_zero_without_a_hook() -> None:
    assert sleep_seconds(None) == 0


def test_reads_one_attribute_of_a_list() -> None:
    text = "stickiness.enabled=true, deregistration_delay.timeout_seconds=30"
    assert attribute(text, "deregistration_delay.timeout_seconds") == 30
    assert attribute(text, "idle_timeout.timeout_seconds") is None
    assert attribute("idle_timeout.timeout_seconds=²", "idle_timeout.timeout_seconds") is None
