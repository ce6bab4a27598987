"""Cron schedules as CronJobs read them: five fields, names, steps, ``@daily`` and ``@every``."""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from kdiag.model.text import go_seconds, whole

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: i for i, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = {name: i for i, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY = re.compile(r"@every ((?:\d+(?:\.\d+)?(?:h|m|s|ms))+)$")
_LIMITS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_LONGEST = 2**63 / 10**9  # a duration in Go
_HORIZON = 366 * 5  # days: 29 February comes at least once within


class ScheduleError(ValueError):
    """A schedule that no controller can read, and why."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed schedule. ``every`` is set for ``@every``, and the fields otherwise."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = True
    any_weekday: bool = True
    every: timedelta | None = None
    zone: tzinfo = UTC

    def next(self, after: datetime) -> datetime | None:
        """The first time after this one, or None for a day that never comes (30 February) or is beyond all years."""
        try:
            return self._next(after)
        except OverflowError:
            return None

    def _next(self, after: datetime) -> datetime | None:
        if self.every is not None:
            return after + self.every
        local = after.astimezone(self.zone)
        start = local.replace(second=0, microsecond=0, tzinfo=None) + timedelta(minutes=1)
        hours, minutes = sorted(self.hours), sorted(self.minutes)
        for offset in range(_HORIZON):
            day = (start + timedelta(days=offset)).date()
            if day.month not in self.months or not self._on(day.day, day.isoweekday() % 7):
                continue
            for hour in hours:
                for minute in minutes:
                    moment = datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001
                    if moment >= start:
                        return moment.replace(tzinfo=self.zone).astimezone(UTC)
        return None

    def _on(self, day: int, weekday: int) -> bool:
        """Both restricted: either is enough, as cron has always had it."""
        if self.any_day or self.any_weekday:
            return day in self.days and weekday in self.weekdays
        return day in self.days or weekday in self.weekdays


def parse_schedule(text: str, time_zone: str = "") -> Schedule:
    """The schedule of a CronJob. Raises ScheduleError with the reason in words."""
    words = text.strip()
    if words.startswith(("TZ=", "CRON_TZ=")):
        zone_text, _, words = words.partition(" ")
        time_zone = zone_text.partition("=")[2]
    zone = _zone(time_zone)
    if match := _EVERY.match(words):
        seconds = go_seconds(match[1]) or 0.0
        if seconds > _LONGEST:
            raise ScheduleError(f"{words} is longer than any time that can be written")
        return Schedule(every=timedelta(seconds=max(round(seconds), 1)), zone=zone)
    if words.startswith("@"):
        if words not in _NAMED:
            raise ScheduleError(f"{words} is no known descriptor")
        words = _NAMED[words]
    fields = words.split()
    if len(fields) != 5:
        raise ScheduleError(f"it has {len(fields)} fields and not 5")
    sets = [_field(field, *limits) for field, limits in zip(fields, _LIMITS, strict=True)]
    minutes, hours, days, months, weekdays = sets
    return Schedule(
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=weekdays,
        any_day=fields[2][0] in "*?",
        any_weekday=fields[4][0] in "*?",
        zone=zone,
    )


def _zone(name: str) -> tzinfo:
    if not name or name.upper() == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ScheduleError(f"{name} is no known time zone") from exc


def _field(text: str, what: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = whole(step_text) if slash else 1
        if not step:
            raise ScheduleError(f"the step of {part!r} ({what}) is not a number above 0")
        if span in ("*", "?"):
            first, last = low, high
        else:
            start, dash, end = span.partition("-")
            first = _number(start, what, names)
            last = _number(end, what, names) if dash else (high if slash else first)
        if not low <= first <= high or not low <= last <= high:
            raise ScheduleError(f"{part} is outside {low}-{high} ({what})")
        if first > last:
            raise ScheduleError(f"{part} begins after its end ({what})")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, what: str, names: dict[str, int]) -> int:
    number = whole(text)
    if number is not None:
        return number
    if text.lower() in names:
        return names[text.lower()]
    raise ScheduleError(f"{text or 'nothing'!r} is no {what}")
