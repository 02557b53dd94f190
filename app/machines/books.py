"""The books of one financial account: per UTC day and currency what it opened with, what came in, went out and is left.

Pure. An entry is booked on the UTC day of its ``effective_at``, once and for ever: one that Stripe creates later for an
earlier day (late) changes that day's closing and is counted there, so a day never changes silently. A future entry is
not booked before its time. Stripe's balance has no past, so each day is compared at the last moment at which the
balance was read that day, with the entries that Stripe had made by then. Clocks and readings take time: within
``CUT_S`` of the reading, the cut that fits is taken.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import msgspec

CUT_S = 5.0
PARTS = ("available", "inbound_pending", "outbound_pending")
Parts = tuple[int, int, int]
ZERO: Parts = (0, 0, 0)


class Entry(msgspec.Struct, frozen=True):
    """One ledger leg: what it did to the three parts of the balance, minor units."""

    impact: Parts
    effective: datetime
    created: datetime
    category: str = ""

    @property
    def known(self) -> datetime:
        """From when on Stripe's balance holds it."""
        return max(self.effective, self.created)


class Reading(msgspec.Struct, frozen=True):
    """Stripe's balance as read at a moment of our clock."""

    at: datetime
    balance: Parts


class Compared(msgspec.Struct, frozen=True):
    """Stripe's balance beside ours at one moment; ``difference`` is Stripe's less ours."""

    at: datetime
    stripe: Parts
    ours: Parts

    @property
    def difference(self) -> Parts:
        return _less(self.stripe, self.ours)


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """One day of one currency; ``came`` and ``went`` are of the available part, both not negative."""

    day: date
    opening: Parts
    came: int
    went: int
    closing: Parts
    entries: int
    late: int
    by_category: Mapping[str, int]
    compared: Compared | None


def days(
    entries: Iterable[Entry],
    readings: Mapping[date, Reading],
    first: date,
    last: date,
    *,
    opening: Parts = ZERO,
    known: Parts = ZERO,
) -> list[Day]:
    """The days from ``first`` to ``last``. ``entries`` are those effective or created since ``first``.

    ``opening`` sums what was effective before, ``known`` what was both effective and created before.
    """
    rows = sorted(entries, key=lambda e: (e.effective, e.created))
    by_known = sorted(rows, key=lambda e: e.known)
    begin = midnight(first)
    held = opening
    found, at = [], 0
    while at < len(rows) and rows[at].effective < begin:
        at += 1
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        end = midnight(day + timedelta(days=1))
        of_day = []
        while at < len(rows) and rows[at].effective < end:
            of_day.append(rows[at])
            at += 1
        reading = readings.get(day)
        compared = None if reading is None else _compared(by_known, known, reading)
        found.append(_day(day, held, of_day, end, compared))
        held = found[-1].closing
    return found


def midnight(day: date) -> datetime:
    """The first moment of a UTC day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _day(day: date, opening: Parts, rows: Sequence[Entry], end: datetime, compared: Compared | None) -> Day:
    closing, categories = opening, dict[str, int]()
    for row in rows:
        closing = _plus(closing, row.impact)
        if row.impact[0]:
            categories[row.category] = categories.get(row.category, 0) + row.impact[0]
    return Day(
        day=day,
        opening=opening,
        came=sum(row.impact[0] for row in rows if row.impact[0] > 0),
        went=-sum(row.impact[0] for row in rows if row.impact[0] < 0),
        closing=closing,
        entries=len(rows),
        late=sum(row.created >= end for row in rows),
        by_category=categories,
        compared=compared,
    )


def _compared(by_known: Sequence[Entry], known: Parts, reading: Reading) -> Compared:
    slack = timedelta(seconds=CUT_S)
    ours, at_reading, fits = known, known, False
    for row in by_known:
        if row.known > reading.at + slack:
            break
        fits = fits or (row.known > reading.at - slack and ours == reading.balance)
        ours = _plus(ours, row.impact)
        if row.known <= reading.at:
            at_reading = ours
    fits = fits or ours == reading.balance
    return Compared(reading.at, reading.balance, reading.balance if fits else at_reading)


def _plus(one: Parts, other: Parts) -> Parts:
    return (one[0] + other[0], one[1] + other[1], one[2] + other[2])


def _less(one: Parts, other: Parts) -> Parts:
    return (one[0] - other[0], one[1] - other[1], one[2] - other[2])
