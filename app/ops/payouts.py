"""Transfers and payout methods: what can be told to be impossible before Stripe is asked.

Only what we know for sure is refused here; a payout method that we never saw is left for Stripe to judge.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg

from app.errors import Conflict
from app.ops import requests
from app.store import views


async def transfer(
    conn: asyncpg.Connection, account_id: str, params: Mapping[str, object], *, at_ms: int
) -> dict[str, Any]:
    """Ask for an outbound transfer to a payout method. Raises Conflict when the method is known not to take it."""
    await requests.enrolled(conn, account_id)
    name = str(params["payout_method"])
    found = await views.object_of(conn, account_id, name)
    if found is not None and found["kind"] == "payout_method":
        _usable(name, found["state"], views.parsed(found["data"]) or {}, str(params["to_currency"]))
    return await requests.act(conn, account_id, "create_outbound_transfer", params, at_ms=at_ms)


def _usable(name: str, state: str, method: Mapping[str, Any], currency: str) -> None:
    if method.get("archived"):
        raise Conflict(f"{name} is archived: unarchive it first.", code="payout_method_archived")
    if method.get("restricted"):
        raise Conflict(f"{name} is restricted: only Stripe can say why.", code="payout_method_restricted")
    if state != "eligible":
        raise Conflict(f"{name} is {state}: it takes no transfers now.", code=f"payout_method_{state}")
    takes = (method.get("bank_account") or {}).get("supported_currencies")
    if method.get("type") == "crypto_wallet":
        takes = ["usdc"]
    if takes and currency not in takes:
        raise Conflict(f"{name} takes {', '.join(takes)}, not {currency}.", code="payout_method_unsupported_currency")


async def cancel(conn: asyncpg.Connection, account_id: str, transfer_id: str, *, at_ms: int) -> dict[str, Any]:
    """Ask to cancel a transfer. Raises NotFound, or Conflict when it is known to be too late."""
    found = await views.object_of(conn, account_id, transfer_id)
    if found is not None and found["kind"] == "outbound_transfer" and found["state"] != "processing":
        raise Conflict(f"{transfer_id} is {found['state']}: it can no longer be canceled.", code="not_cancelable")
    return await requests.act_on_object(
        conn,
        account_id,
        transfer_id,
        "cancel_outbound_transfer",
        {"outbound_transfer": transfer_id},
        kind="outbound_transfer",
        at_ms=at_ms,
    )


async def change_setup_intent(
    conn: asyncpg.Connection, account_id: str, intent: str, action: str, params: Mapping[str, object], *, at_ms: int
) -> dict[str, Any]:
    """Ask to update or cancel a setup intent. Raises NotFound, or Conflict when it is known to be over."""
    found = await views.object_of(conn, account_id, intent)
    if found is not None and found["kind"] == "outbound_setup_intent" and found["state"] in ("succeeded", "canceled"):
        raise Conflict(
            f"{intent} is {found['state']}: nothing about it changes.", code=f"setup_intent_{found['state']}"
        )
    named = {"outbound_setup_intent": intent, **params}
    return await requests.act_on_object(
        conn, account_id, intent, action, named, kind="outbound_setup_intent", at_ms=at_ms
    )
