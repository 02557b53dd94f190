"""The books on the command line: one line per account, day and currency; exit 1 when Stripe's balance is another one."""

from datetime import date
from typing import Annotated, Any

import typer

from app.cli.desk import AsJson, Desk, at_desk, show_json, show_rows
from app.errors import NotFound
from app.ops import books as bookkeeping
from app.store import ledger, views

COLUMNS = ["account", "day", "currency", "opening", "in", "out", "closing", "stripe", "difference", "late_entries"]


def books(
    account: Annotated[str | None, typer.Option(help="Only this account.")] = None,
    day: Annotated[str | None, typer.Option(help="One UTC day, 2026-11-24.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="First UTC day.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last UTC day; today without.")] = None,
    as_json: AsJson = False,
) -> None:
    """What came in, went out and is left per day, beside Stripe's balance; exit 1 when they differ."""
    wanted = [_day(text) for text in (first, last, day)]

    async def work(desk: Desk) -> list[dict[str, Any]]:
        begin, end = bookkeeping.period(wanted[0], wanted[1], wanted[2], bookkeeping.today(desk.now_ms()))
        if account is not None and await views.account_state(desk.conn, account) is None:
            raise NotFound(f"There is no account {account}.")
        names = [account] if account is not None else await ledger.accounts(desk.conn)
        return [await bookkeeping.of_account(desk.conn, name, begin, end) for name in names]

    found = at_desk(work, as_json=as_json)
    off = [one["account"] for one in found if one["balanced"] is False]
    if as_json:
        show_json({"balanced": not off, "off": off, "books": found})
    else:
        show_rows([_row(one["account"], d) for one in found for d in one["days"]], COLUMNS, as_json=False)
    raise typer.Exit(1 if off else 0)


def _row(account: str, day: dict[str, Any]) -> dict[str, Any]:
    """A line for people: the available part; a difference in any part is shown."""
    stripe, difference = day["stripe"], day["difference"]
    parts = [f"{name} {hundredths(value)}" for name, value in (difference or {}).items() if value]
    return {
        **day,
        "account": account,
        "currency": day["currency"].upper(),
        "opening": hundredths(day["opening"]["available"]),
        "in": hundredths(day["in"]),
        "out": hundredths(day["out"]),
        "closing": hundredths(day["closing"]["available"]),
        "stripe": "not read" if stripe is None else hundredths(stripe["available"]),
        "difference": "" if difference is None else ", ".join(parts) or hundredths(0),
    }


def hundredths(value: int) -> str:
    """As money reads; the currency has a column of its own."""
    return f"{value / 100:,.2f}"


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text} is no day, like 2026-11-24") from error
