"""What passes through to Stripe without being kept: a new PIN, and the key that shows a card's number to its holder.

Neither may stand in a log, a command or an answer of ours, so these two calls leave at once instead of through the
outbox. Holds and brakes stop them like any command, and the audit row tells who asked, never what was sent.
"""

import hashlib
from uuid import uuid4

import msgspec

from app.errors import CardrailError, Conflict, StripeRefused, Unavailable
from app.machines.events import Json
from app.ops import cards, requests
from app.ops.parts import Parts
from app.store import audit, controls
from app.stripe.outcome import Rejected, Settled
from app.stripe.requests import Request


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for what of which card; ``key`` is the caller's own idempotency key."""

    account: str
    card: str
    who: str
    caller: str
    key: str | None


async def change_pin(parts: Parts, asked: Asked, encrypted_number: str) -> Json:
    """Give the card a new PIN, encrypted by the caller with Stripe's public key; the clear PIN never comes here."""
    params: Json = {"pin": {"encrypted_number": encrypted_number}}
    path = f"/v1/issuing/cards/{asked.card}"
    await _through(parts, asked, "change_pin", Request("post", path, params, asked.account, "v1"))
    return {"card": asked.card, "changed": True}


async def ephemeral_key(parts: Parts, asked: Asked, nonce: str) -> Json:
    """A key with which Stripe's Issuing Elements, on the holder's device, show this one card for some minutes."""
    params: Json = {"issuing_card": asked.card, "nonce": nonce}
    request = Request("post", "/v1/ephemeral_keys", params, asked.account, "v1")
    answer = await _through(parts, asked, "create_ephemeral_key", request)
    return {
        "id": answer.get("id"),
        "card": asked.card,
        "secret": answer.get("secret"),
        "expires": answer.get("expires"),
        "stripe_version": parts.settings.stripe_api_version,
    }


async def _through(parts: Parts, asked: Asked, action: str, request: Request) -> Json:
    await _allowed(parts, asked)
    outcome = await parts.stripe.call(request, _key(asked, action))
    error = _error(outcome)
    async with parts.pool.acquire() as conn, conn.transaction():
        await audit.note(
            conn,
            who=asked.who,
            action=action,
            target=f"{asked.account}/{asked.card}",
            result={"stripe_request": getattr(outcome, "request_id", None), "refused": error and error.code},
        )
    if error is not None:
        raise error
    assert isinstance(outcome, Settled)
    return outcome.object


async def _allowed(parts: Parts, asked: Asked) -> None:
    async with parts.pool.acquire() as conn:
        account = await requests.enrolled(conn, asked.account)
        if account["hold"] is not None:
            raise Conflict(f"{asked.account} is held: nothing leaves for it.", code="account_held")
        state, _ = await cards.own(conn, asked.account, asked.card, "card")
        if state == "canceled":
            raise Conflict(f"The card {asked.card} is canceled for good.", code="card_canceled")
        pulled = [brake["step"] for brake in await controls.brakes(conn)]
    if "all" in pulled or "update_card" in pulled:
        raise Conflict("A brake stops changes of cards.", code="braked")


def _key(asked: Asked, action: str) -> str:
    """The caller's key made ours, so that a repeat is Stripe's to recognise; else a key used once."""
    if asked.key is None:
        return f"cardrail-{action}-{uuid4().hex}"
    named = f"{asked.caller}|{asked.account}|{asked.card}|{action}|{asked.key}"
    return f"cardrail-{action}-{hashlib.sha256(named.encode()).hexdigest()[:40]}"


def _error(outcome: object) -> CardrailError | None:
    """What to tell the caller; Stripe's sentence is left out, since it may repeat what was sent."""
    match outcome:
        case Settled():
            return None
        case Rejected(code=code, request_id=request_id):
            return StripeRefused(f"Stripe refused: {code}.", stripe_code=code, request_id=request_id, status=422)
        case _:
            return Unavailable("Stripe did not answer in time; ask again with the same Idempotency-Key.")
