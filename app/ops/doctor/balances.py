"""Balances: accounts that owe money, and books that are not what Stripe's balance says."""

from collections.abc import Mapping
from typing import Any

from app.ops import books
from app.ops.doctor.check import Check
from app.ops.parts import Parts
from app.store import ledger, platform
from app.store.db import Connection

NEGATIVE_SHOWN = 20
COMPARED_MAX = 50
"""Accounts whose books are compared: those in which something moved last. ``cardrail books`` goes through all."""


async def look(conn: Connection, parts: Parts) -> list[Check]:
    """Negative balances, and the books of the accounts that moved last."""
    return [*await _negative(conn), *await _books(conn, parts)]


async def _negative(conn: Connection) -> list[Check]:
    """Balances below zero: somebody owes money, and Stripe gives the platform limited time."""
    return [
        Check(
            check=f"balance of {row['account_id']}",
            state="warning",
            says=f"negative, as last read: {_money(row['available'])}",
            do=f"cardrail books --account {row['account_id']}",
        )
        for row in await platform.negative(conn, NEGATIVE_SHOWN)
    ]


def _money(available: Mapping[str, int]) -> str:
    """``-50.00 USDC``: every currency here has hundredths."""
    return ", ".join(f"{value / 100:,.2f} {currency.upper()}" for currency, value in available.items())


async def _books(conn: Connection, parts: Parts) -> list[Check]:
    """Today's books beside Stripe's balance; those whose entries are still being read are left out."""
    today = books.today(parts.clock())
    names = await ledger.moved_last(conn, COMPARED_MAX)
    found = [await books.of_account(conn, name, today, today) for name in names]
    off = [_off(one) for one in found if one["balanced"] is False and not one["entries_missing"]]
    return off or [Check(check="books", state="ok", says=f"{len(found)} accounts agree with Stripe's balance")]


def _off(one: dict[str, Any]) -> Check:
    return Check(
        check=f"books of {one['account']}",
        state="wrong",
        says=f"Stripe's balance less ours: {books.apart(one)}",
        do=f"cardrail books --account {one['account']}",
    )
