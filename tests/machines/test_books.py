"""The books: what a day opened with, what moved, what it closed with, and how it stands beside Stripe's balance."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.machines.books import ZERO, Entry, Parts, Reading, days, midnight

ONE = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def entry(available: int, at: datetime, created: datetime | None = None, pending: int = 0) -> Entry:
    return Entry((available, 0, pending), at, created or at, "transfer")


def test_a_day_opens_with_what_the_day_before_closed_with() -> None:
    rows = [entry(100, NOON), entry(-30, NOON + HOUR, pending=30), entry(-20, NOON + 24 * HOUR)]
    first, second = days(rows, {}, ONE, ONE + timedelta(days=1), opening=(5, 0, 0))
    assert (first.opening, first.came, first.went, first.closing) == ((5, 0, 0), 100, 30, (75, 0, 30))
    assert (second.opening, second.went, second.closing) == ((75, 0, 30), 20, (55, 0, 30))
    assert first.by_category == {"transfer": 70}
    assert first.compared is None


def test_stripes_balance_is_compared_with_what_was_known_when_it_was_read() -> None:
    rows = [entry(100, NOON), entry(-30, NOON + HOUR), entry(7, NOON - HOUR, created=NOON + 2 * HOUR)]
    (day,) = days(rows, {ONE: Reading(NOON + HOUR / 2, (100, 0, 0))}, ONE, ONE)
    assert day.compared is not None
    assert day.compared.difference == ZERO
    (day,) = days(rows, {ONE: Reading(NOON + HOUR / 2, (90, 0, 3))}, ONE, ONE)
    assert day.compared is not None
    assert day.compared.difference == (-10, 0, 3)


def test_within_seconds_of_the_reading_the_cut_that_fits_is_taken_and_no_further() -> None:
    at = NOON + timedelta(seconds=2)
    for after, equal in ((2, True), (60, False)):
        rows = [entry(100, NOON - HOUR), entry(-30, at + timedelta(seconds=after))]
        (day,) = days(rows, {ONE: Reading(at, (70, 0, 0))}, ONE, ONE)
        assert day.compared is not None
        assert (day.compared.difference == ZERO) is equal


def test_a_late_entry_changes_its_own_day_and_is_counted_there() -> None:
    rows = [entry(100, NOON), entry(-9, NOON, created=NOON + 30 * HOUR)]
    first, second = days(rows, {}, ONE, ONE + timedelta(days=1))
    assert (first.closing, first.late) == ((91, 0, 0), 1)
    assert (second.closing, second.late, second.entries) == ((91, 0, 0), 0, 0)


moments = st.integers(0, 5 * 86_400 - 1).map(lambda s: midnight(ONE) + timedelta(seconds=s))
impacts = st.tuples(st.integers(-500, 500), st.integers(-50, 50), st.integers(-50, 50))
legs = st.builds(lambda i, e, late: Entry(i, e, e + timedelta(hours=late)), impacts, moments, st.integers(0, 30))


@given(st.lists(legs, max_size=30), impacts)
def test_every_day_adds_up_and_the_last_closing_is_the_sum_of_all(rows: list[Entry], opening: Parts) -> None:
    found = days(rows, {}, ONE, ONE + timedelta(days=4), opening=opening)
    held = opening
    for day in found:
        assert day.opening == held
        assert day.opening[0] + day.came - day.went == day.closing[0]
        held = day.closing
    total = tuple(opening[part] + sum(row.impact[part] for row in rows) for part in range(3))
    assert held == total
    assert sum(day.entries for day in found) == len(rows)
