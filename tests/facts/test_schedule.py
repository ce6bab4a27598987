"""Cron schedules, against times worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kdiag.facts.schedule import ScheduleError, parse_schedule


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("* * * * *", "2026-11-22T12:00:30", "2026-11-22T12:01:00"),
        ("*/15 * * * *", "2026-11-22T12:46:00", "2026-11-22T13:00:00"),
        ("5/20 * * * *", "2026-11-22T12:06:00", "2026-11-22T12:25:00"),
        ("0 3 * * *", "2026-11-22T03:00:00", "2026-11-23T03:00:00"),
        ("30 2 * * mon-fri", "2026-11-20T02:30:00", "2026-11-23T02:30:00"),  # a Friday
        ("0 0 31 * *", "2026-11-22T00:00:00", "2026-12-31T00:00:00"),
        ("0 0 29 2 *", "2026-11-22T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 13 * 5", "2026-11-22T00:00:00", "2026-11-27T00:00:00"),  # the 13th, or any Friday
        ("0 12 1 jan,JUL *", "2026-11-22T00:00:00", "2027-01-01T12:00:00"),
        ("@hourly", "2026-11-22T12:00:00", "2026-11-22T13:00:00"),
        ("@weekly", "2026-11-22T12:00:00", "2026-11-29T00:00:00"),
        ("TZ=Asia/Tokyo 0 9 * * *", "2026-11-22T12:00:00", "2026-11-23T00:00:00"),
    ],
)
def test_finds_the_next_time(schedule: str, after: str, expected: str) -> None:
    assert parse_schedule(schedule).next(at(after)) == at(expected)


def test_reads_a_time_zone_beside_the_schedule() -> None:
    assert parse_schedule("0 9 * * *", "Asia/Tokyo").next(at("2026-11-22T12:00:00")) == at("2026-11-23T00:00:00")


def test_counts_from_the_last_run_for_every() -> None:
    assert parse_schedule("@every 1h30m").next(at("2026-11-22T12:00:07")) == at("2026-11-22T13:30:07")
    assert parse_schedule("@every 90s").every == timedelta(seconds=90)


def test_knows_a_day_that_never_comes() -> None:
    assert parse_schedule("0 0 30 2 *").next(at("2026-11-22T12:00:00")) is None


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        ("61 * * * *", "61 is outside 0-59 (minute)"),
        ("* * * *", "it has 4 fields and not 5"),
        ("0 0 * * * *", "it has 6 fields and not 5"),
        ("0 5-3 * * *", "5-3 begins after its end (hour)"),
        ("*/0 * * * *", "the step of '*/0' (minute) is not a number above 0"),
        ("0 0 * foo *", "'foo' is no month"),
        ("0 0 * * 7", "7 is outside 0-6 (day of week)"),
        ("@fortnightly", "@fortnightly is no known descriptor"),
        ("TZ=Mars/Base 0 0 * * *", "Mars/Base is no known time zone"),
        ("", "it has 0 fields and not 5"),
        ("1,,2 * * * *", "'nothing' is no minute"),
        ("*/² * * * *", "the step of '*/²' (minute) is not a number above 0"),
        ("² * * * *", "'²' is no minute"),
    ],
)
def test_says_why_a_schedule_cannot_be_read(schedule: str, reason: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_schedule(schedule)
    assert str(caught.value) == reason
