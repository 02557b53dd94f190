"""What is asked of cards, cardholders, tokens and disputes, checked against what we know of them.

Functions take a connection inside the caller's transaction, never commit, and return what a 202 shows. What cannot be
meant any more (a canceled card, a submitted dispute) is refused here, at once, instead of at Stripe later.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg

from app.errors import BadInput, Conflict, NotFound
from app.machines.events import Json
from app.ops import requests
from app.store import views

Row = Mapping[str, Any]


async def own(conn: asyncpg.Connection, account_id: str, object_id: str, kind: str) -> tuple[str, dict[str, Any]]:
    """State and fields of an object of this account, which must be there and of this kind."""
    found = await views.object_of(conn, account_id, object_id)
    if found is None or found["kind"] != kind:
        raise NotFound(f"The account {account_id} has no {kind.replace('_', ' ')} {object_id}.")
    return str(found["state"]), dict(views.parsed(found["data"]) or {})


async def create(conn: asyncpg.Connection, account_id: str, params: Json, *, at_ms: int) -> dict[str, Any]:
    """One more card, for the account's cardholder or for the one that is named."""
    await requests.enrolled(conn, account_id)
    holder = params.get("cardholder")
    if isinstance(holder, str):
        state, _ = await own(conn, account_id, holder, "cardholder")
        if state != "active":
            raise Conflict(f"The cardholder {holder} is {state}.", code=f"cardholder_{state}")
    return await requests.act(conn, account_id, "create_card", params, at_ms=at_ms)


async def changeable(conn: asyncpg.Connection, account_id: str, card: str) -> None:
    """Raise unless the card is there, is ours to change, and is not canceled."""
    await requests.enrolled(conn, account_id)
    state, _ = await own(conn, account_id, card, "card")
    if state == "canceled":
        raise Conflict(f"The card {card} is canceled for good.", code="card_canceled")


async def change(conn: asyncpg.Connection, account_id: str, card: str, to: Json, *, at_ms: int) -> dict[str, Any]:
    """Another status or other spending controls; a canceled card stays as it is."""
    await changeable(conn, account_id, card)
    return await requests.act(conn, account_id, "update_card", {"card": card, **to}, at_ms=at_ms)


async def replace(
    conn: asyncpg.Connection, account_id: str, card: str, *, reason: str, asked: Json, at_ms: int
) -> dict[str, Any]:
    """A new card in place of this one, with its holder, kind and limits; the old one is canceled once the new is active.

    A lost or stolen card stops at once. A physical replacement comes inactive, so that the old card works until the
    holder has the new one; ``asked`` may say otherwise (``status``) and brings the ``shipping`` that it needs.
    """
    await requests.enrolled(conn, account_id)
    state, old = await own(conn, account_id, card, "card")
    if old.get("replaced_by"):
        raise Conflict(f"The card {card} was replaced by {old['replaced_by']}.", code="card_replaced")
    physical = old.get("type") == "physical"
    if physical != (asked.get("shipping") is not None):
        wrong = "a physical card needs an address" if physical else "a virtual card is not shipped"
        raise _wrong("shipping", wrong)
    limits = {k: v for k, v in (old.get("spending_controls") or {}).items() if v and k != "spending_limits_currency"}
    params: Json = {
        "type": old.get("type") or "virtual",
        "replacement_for": card,
        "replacement_reason": reason,
        "status": "inactive" if physical else "active",
        **({"cardholder": old["cardholder"]} if old.get("cardholder") else {}),
        **({"spending_controls": limits} if limits else {}),
        **asked,
    }
    if reason in ("lost", "stolen") and state == "active":
        stop: Json = {"card": card, "status": "inactive"}
        await requests.act(conn, account_id, "update_card", stop, at_ms=at_ms)
    return await requests.act(conn, account_id, "create_card", params, at_ms=at_ms)


async def change_cardholder(
    conn: asyncpg.Connection, account_id: str, cardholder: str, to: Json, *, at_ms: int
) -> dict[str, Any]:
    """Other details, limits or status of a cardholder; Stripe's block is for ever."""
    await requests.enrolled(conn, account_id)
    state, data = await own(conn, account_id, cardholder, "cardholder")
    if state == "blocked":
        raise Conflict(f"Stripe has blocked the cardholder {cardholder}.", code="cardholder_blocked")
    for name in ("individual", "company"):
        if name in to and data.get("type") not in (None, name):
            raise _wrong(name, f"the cardholder is of type {data['type']}")
    params: Json = {"cardholder": cardholder, **to}
    return await requests.act(conn, account_id, "update_cardholder", params, at_ms=at_ms)


async def change_token(
    conn: asyncpg.Connection, account_id: str, token: str, status: str, *, at_ms: int
) -> dict[str, Any]:
    """Suspend, resume or delete a card in a digital wallet."""
    await requests.enrolled(conn, account_id)
    state, _ = await own(conn, account_id, token, "token")
    if state == "deleted":
        raise Conflict(f"The token {token} is deleted for good.", code="token_deleted")
    params: Json = {"token": token, "status": status}
    return await requests.act(conn, account_id, "update_token", params, at_ms=at_ms)


async def dispute(conn: asyncpg.Connection, account_id: str, params: Json, *, at_ms: int) -> dict[str, Any]:
    """Contest a captured purchase, whole or in part."""
    await requests.enrolled(conn, account_id)
    transaction = str(params["transaction"])
    state, data = await own(conn, account_id, transaction, "issuing_transaction")
    if state != "capture":
        raise _wrong("transaction", f"{transaction} is a {state}; only a capture can be disputed")
    if data.get("dispute"):
        raise Conflict(f"{transaction} is disputed already: {data['dispute']}.", code="dispute_exists")
    amount, most = params.get("amount"), abs(int(data.get("amount") or 0))
    if isinstance(amount, int) and amount > most:
        raise _wrong("amount", f"more than the transaction's {most}")
    return await requests.act(conn, account_id, "create_dispute", params, at_ms=at_ms)


async def unsubmitted(conn: asyncpg.Connection, account_id: str, dispute_id: str) -> None:
    """Raise unless the dispute can still be changed: it is submitted once, and then only decided."""
    await requests.enrolled(conn, account_id)
    state, _ = await own(conn, account_id, dispute_id, "dispute")
    if state != "unsubmitted":
        raise Conflict(f"The dispute {dispute_id} is {state}.", code=f"dispute_{state}")


def _wrong(field: str, sentence: str) -> BadInput:
    errors = [{"field": field, "message": sentence}]
    return BadInput(f"{field}: {sentence}", code="invalid", status=422, details={"errors": errors})
