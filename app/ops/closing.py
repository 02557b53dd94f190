"""Closing an account for good, and what Stripe wants to know of it, told as who must do what by when.

Nothing is closed while money is on it or on its way: Stripe would keep it, and nobody could reach it any more.
"""

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
    row = await views.account(conn, account_id)
    facts = msgspec.convert((views.parsed(row["facts"]) if row else None) or {}, Facts)
    held = {
        f"{part}.{currency}": value
        for part in ("available", "inbound_pending", "outbound_pending")
        for currency, value in (getattr(facts.balance, part) if facts.balance else {}).items()
        if value
    }
    if held:
        told = ", ".join(f"{name} {value}" for name, value in sorted(held.items()))
        raise Conflict(f"{account_id} holds money ({told}): pay it out first.", code="account_holds_money")
    moving = sorted(f.id for f in facts.fundings.values() if f.status not in ENDED)
    if moving or "issued" in (how for intent, how in facts.intents.items() if intent.startswith("funding/")):
        raise Conflict(
            f"Money is on its way to {account_id}: {', '.join(moving) or 'a funding'}.", code="money_under_way"
        )
    known = await views.object_of(conn, account_id, account_id)
    names = (views.parsed(known["data"]) or {}).get("applied_configurations") if known else None
    return await requests.act(conn, account_id, "close_account", {"applied_configurations": names or []}, at_ms=at_ms)


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
