"""books: per account and day what came in and went out, beside Stripe's own balance. Reads only; hides no difference."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import asyncpg

from app.errors import BadInput
from app.machines import books
from app.machines.books import PARTS, Day, Entry, Parts, Reading
from app.store import ledger
from app.store.views import parsed

DAYS_MAX = 92
ENTRIES_MAX = 100_000


async def of_account(conn: asyncpg.Connection, account_id: str, first: date, last: date) -> dict[str, Any]:
    """The books of one account, for every financial account and currency in which anything ever moved.

    ``balanced``: True when every comparison shows no difference, False when one does, None when there was none.
    """
    since = books.midnight(first)
    rows = await ledger.entries(conn, account_id, since, ENTRIES_MAX + 1)
    if len(rows) > ENTRIES_MAX:
        raise BadInput("There are too many entries in this period: ask for fewer days.", code="period_too_long")
    sums = {(r["financial_account"], r["currency"]): r for r in await ledger.sums(conn, account_id, since)}
    read = [{**r, "balance": parsed(r["balance"])} for r in await ledger.balances(conn, account_id, first, last)]
    keys = set(sums) | {(r["object_id"], c) for r in read for part in PARTS for c in r["balance"].get(part) or {}}
    shown: list[dict[str, Any]] = []
    for fa, currency in sorted(keys):
        entries = [_entry(r) for r in rows if (r["financial_account"], r["currency"]) == (fa, currency)]
        readings = {r["day"]: Reading(r["at"], _of(r["balance"], currency)) for r in read if r["object_id"] == fa}
        before = sums.get((fa, currency))
        opening, known = (_parts(before, "opening_"), _parts(before, "known_")) if before else (books.ZERO, books.ZERO)
        told = books.days(entries, readings, first, last, opening=opening, known=known)
        shown += [{"financial_account": fa, "currency": currency, **_shown(day)} for day in told]
    shown.sort(key=lambda d: (d["day"], d["financial_account"], d["currency"]))
    verdicts = [d["balanced"] for d in shown if d["balanced"] is not None]
    return {
        "account": account_id,
        "from": first,
        "to": last,
        "balanced": all(verdicts) if verdicts else None,
        "entries_missing": await ledger.incomplete(conn, account_id),
        "days": shown,
    }


def apart(found: Mapping[str, Any]) -> str:
    """In one line what Stripe's balance is more or less than the books of :func:`of_account`: ``-120.00 USDC available``."""
    return ", ".join(
        f"{value / 100:,.2f} {day['currency'].upper()} {part}"
        for day in found["days"]
        for part, value in (day["difference"] or {}).items()
        if value
    )


def period(first: date | None, last: date | None, day: date | None, today: date) -> tuple[date, date]:
    """The days asked for: one ``day``, or from ``first`` to ``last``; today without any. Raises BadInput."""
    if day is not None:
        if first is not None or last is not None:
            raise BadInput("Ask for one day, or for a period; not for both.", code="bad_period")
        return day, day
    end = last or today
    begin = first or min(end, today)
    if not 0 <= (end - begin).days < DAYS_MAX:
        raise BadInput(f"From the first to the last day there may be 1 to {DAYS_MAX} days.", code="bad_period")
    return begin, end


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(_parts(row, ""), row["effective"], row["created"], row["category"])


def _parts(row: Mapping[str, Any], prefix: str) -> Parts:
    return (row[f"{prefix}available"], row[f"{prefix}inbound_pending"], row[f"{prefix}outbound_pending"])


def _of(balance: Mapping[str, Any], currency: str) -> Parts:
    values = [int((balance.get(part) or {}).get(currency, 0)) for part in PARTS]
    return (values[0], values[1], values[2])


def _shown(day: Day) -> dict[str, Any]:
    compared = day.compared
    return {
        "day": day.day,
        "opening": _named(day.opening),
        "in": day.came,
        "out": day.went,
        "closing": _named(day.closing),
        "entries": day.entries,
        "late_entries": day.late,
        "by_category": dict(day.by_category),
        "stripe": None if compared is None else {"at": compared.at, **_named(compared.stripe)},
        "ours_then": None if compared is None else _named(compared.ours),
        "difference": None if compared is None else _named(compared.difference),
        "balanced": None if compared is None else compared.difference == books.ZERO,
    }


def _named(parts: Parts) -> dict[str, int]:
    return dict(zip(PARTS, parts, strict=True))


def today(now_ms: int) -> date:
    """The UTC day of a moment."""
    return (books.midnight(date(1970, 1, 1)) + timedelta(milliseconds=now_ms)).date()
