"""Dates as an instructor writes them, and what late work is still worth.

A file holds local times, without an offset; the course has one time zone. An hour that the clocks
skip is refused; of an hour that they show twice, the later one counts, which is kind to learners.
"""

import datetime as dt
import math
from dataclasses import dataclass
from zoneinfo import ZoneInfo

DAY, STARTED_DAY = "day", "started day"
MIDNIGHT, LAST_SECOND = dt.time(0), dt.time(23, 59, 59)


@dataclass(frozen=True)
class LateRule:
    """What work is worth that comes after its due date. As it stands here: nothing."""

    grace_minutes: float = 0.0  # this much later is not late
    percent: float = 0.0  # what each day takes away
    per: str = STARTED_DAY  # or "day": half a day late costs half as much
    latest_days: float = 0.0  # so many days after the due date, nothing is accepted any more

    def last(self, due: dt.datetime) -> dt.datetime:
        """Return the last moment at which work is accepted at all."""
        return max(self._end_of_grace(due), utc(due + dt.timedelta(days=self.latest_days)))

    def factor(self, submitted: dt.datetime, due: dt.datetime) -> float:
        """Return what the points are multiplied by: 1.0 in time, 0.0 too late.

        Days are counted on the wall clock of the course: 23:59 and 23:59 of the next day are one
        day apart, also where the clocks change in between.
        """
        if utc(submitted) <= self._end_of_grace(due):
            return 1.0
        if utc(submitted) > self.last(due):
            return 0.0
        there = submitted.astimezone(due.tzinfo).replace(tzinfo=None)
        days = max(0.0, (there - due.replace(tzinfo=None)) / dt.timedelta(days=1))
        if self.per == STARTED_DAY:
            days = max(1, math.ceil(days))
        return round(max(0.0, 1.0 - self.percent / 100 * days), 6)

    def _end_of_grace(self, due: dt.datetime) -> dt.datetime:
        return utc(due) + dt.timedelta(minutes=self.grace_minutes)


NO_LATE_WORK = LateRule()


def utc(moment: dt.datetime) -> dt.datetime:
    """Return the same moment in UTC: two times of one zone are compared by their clock faces."""
    return moment.astimezone(dt.UTC)


def read_moment(value: object, zone: ZoneInfo, time: dt.time = MIDNIGHT) -> dt.datetime:
    """Return a date of a file as a moment; `time` is for a date without one.

    Raises ValueError, with the end of a sentence that begins with the date.
    """
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value.strip()) if len(value) > 10 else _day(value)
        except ValueError:
            raise ValueError("is no date (2026-11-21, or 2026-11-21T23:59:00)") from None
    if isinstance(value, dt.datetime):
        moment = value
    elif isinstance(value, dt.date):
        moment = dt.datetime.combine(value, time)
    else:
        raise ValueError("is no date (2026-11-21, or 2026-11-21T23:59:00)")
    if moment.tzinfo is not None:  # somebody says exactly which hour is meant
        return moment.astimezone(zone)
    moment = moment.replace(tzinfo=zone, fold=1)
    if moment.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) != moment.replace(
        tzinfo=None
    ):
        raise ValueError(f"does not exist in {zone.key}: the clocks skip that hour")
    return moment


def _day(text: str) -> dt.date:
    return dt.date.fromisoformat(text.strip())
