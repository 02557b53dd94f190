"""Closing an account for good, and what Stripe wants to know of it, told as who must do what by when.

Nothing is closed while money is on it or on its way: Stripe would keep it, and nobody could reach it any more.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg
import msgspec

from app.errors import Conflict
from app.machines.lifecycle import GONE, Facts
from app.ops import requests
from app.store import views

ENDED = (*GONE, "posted")
WHO = {"user": "holder", "stripe": "stripe"}


async def close(conn: asyncpg.Connection, account_id: str, *, at_ms: int) -> dict[str, Any]:
    """Ask Stripe to close the account. Raises Conflict while it holds money, or money is under way."""
    await requests.enrolled(conn, account_id)
    facts = await _facts(conn, account_id)
    _must_be_empty(account_id, msgspec.to_builtins(facts.balance) if facts.balance else {})
    _must_rest(account_id, facts)
    known = await views.object_of(conn, account_id, account_id)
    names = (views.parsed(known["data"]) or {}).get("applied_configurations") if known else None
    return await requests.act(conn, account_id, "close_account", {"applied_configurations": names or []}, at_ms=at_ms)


async def close_financial_account(
    conn: asyncpg.Connection, account_id: str, financial_account: str, *, at_ms: int
) -> dict[str, Any]:
    """Ask Stripe to close one financial account. Raises NotFound, or Conflict while it holds money or is closed."""
    await requests.enrolled(conn, account_id)
    found = await views.object_of(conn, account_id, financial_account)
    if found is not None and found["kind"] == "financial_account":
        if found["state"] == "closed":
            raise Conflict(f"{financial_account} is closed.", code="financial_account_closed")
        _must_be_empty(financial_account, (views.parsed(found["data"]) or {}).get("balance") or {})
        _must_rest(account_id, await _facts(conn, account_id))
    action, params = "close_financial_account", {"financial_account": financial_account}
    return await requests.act_on_object(
        conn, account_id, financial_account, action, params, kind="financial_account", at_ms=at_ms
    )


async def _facts(conn: asyncpg.Connection, account_id: str) -> Facts:
    row = await views.account(conn, account_id)
    return msgspec.convert((views.parsed(row["facts"]) if row else None) or {}, Facts)


def _must_be_empty(name: str, balance: Mapping[str, Any]) -> None:
    parts = {part: balance.get(part) or {} for part in ("available", "inbound_pending", "outbound_pending")}
    held = {f"{part}.{currency}": v for part, amounts in parts.items() for currency, v in amounts.items() if v}
    if held:
        told = ", ".join(f"{part} {value}" for part, value in sorted(held.items()))
        raise Conflict(f"{name} holds money ({told}): pay it out first.", code="account_holds_money")


def _must_rest(account_id: str, facts: Facts) -> None:
    moving = sorted(f.id for f in facts.fundings.values() if f.status not in ENDED)
    if moving or "issued" in (how for intent, how in facts.intents.items() if intent.startswith("funding/")):
        raise Conflict(
            f"Money is on its way to {account_id}: {', '.join(moving) or 'a funding'}.", code="money_under_way"
        )


def requirements(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """What Stripe wants to know, the most urgent first, without personal data.

    Each ``{what, who, by, deadline, time, consequence, capabilities, future}``: ``who`` must act (holder or stripe), ``by``
    is a time or ``now``, null when there is no hurry; ``consequence`` says what stops otherwise; ``future`` ones are announced.
    """
    found = [
        _requirement(raw, future=future)
        for name, future in (("requirements", False), ("future_requirements", True))
        for raw in facts.get(name) or ()
    ]
    order = ("past_due", "currently_due", "eventually_due")
    return sorted(
        found, key=lambda r: (r["future"], order.index(r["deadline"]) if r["deadline"] in order else len(order))
    )


def _requirement(raw: dict[str, Any], *, future: bool) -> dict[str, Any]:
    deadline, time = raw.get("deadline"), raw.get("time")
    capabilities = [str(name) for name in raw.get("capabilities") or () if name]
    verb = "stay off" if deadline == "past_due" else "stop working"
    return {
        "what": raw.get("what"),
        "who": WHO.get(str(raw.get("who")), raw.get("who")),
        "by": time or ("now" if deadline in ("past_due", "currently_due") and not future else None),
        "deadline": deadline,
        "time": time,
        "consequence": f"{', '.join(capabilities)} {verb}" if capabilities else None,
        "capabilities": capabilities,
        "future": future,
    }
