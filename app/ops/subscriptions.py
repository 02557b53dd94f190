"""Subscriptions to notices: made, changed, tested, sent again. The same for the API and the command line.

Each takes a connection inside a transaction. A secret is returned when it is made, and never again.
"""

import base64
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from app.config import Settings
from app.errors import BadInput, Conflict, NotFound
from app.flow import notices as notes
from app.flow.receivers import Allowed
from app.store import feed, notices, subscriptions
from app.store.db import Connection
from app.store.feed import Place

SUBSCRIPTIONS_MAX = 100
SECRET_BYTES = 32
OVERLAP_S = 24 * 3600
BY_HAND = "disabled by hand"


def allowed(settings: Settings) -> Allowed:
    """Which receivers the settings allow; ``flow.receivers.check`` checks a URL against it."""
    return Allowed(http=settings.receivers == "any", private=settings.receivers != "public")


def new_secret() -> str:
    """A signing secret in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def check_types(types: Sequence[str]) -> None:
    """Refuse a type that no notice has."""
    unknown = [name for name in types if not notes.known(name)]
    if unknown:
        sentence = f"no notice has the type {unknown[0]}; there are {', '.join(notes.TYPES)}, prefix.* and *"
        errors = [{"field": "types", "message": sentence}]
        raise BadInput(f"types: {sentence}.", code="unknown_type", status=422, details={"errors": errors})


async def create(
    conn: Connection, *, url: str, types: Sequence[str], accounts: Sequence[str] | None, description: str | None
) -> dict[str, Any]:
    """Subscribe from now on; the answer holds the secret."""
    check_types(types)
    if await subscriptions.count(conn) >= SUBSCRIPTIONS_MAX:
        raise Conflict(f"There are {SUBSCRIPTIONS_MAX} subscriptions, the most.", code="too_many_subscriptions")
    made, secret = f"sub_{secrets.token_hex(12)}", new_secret()
    await subscriptions.insert(
        conn,
        subscription_id=made,
        url=url,
        description=description,
        types=types,
        accounts=accounts,
        secret=secret,
        cursor=Place(await feed.horizon(conn), "", 0),
    )
    return {**shown(await _found(conn, made)), "secret": secret}


async def change(conn: Connection, subscription_id: str, given: dict[str, Any]) -> dict[str, Any]:
    """Write the given members. Enabled again, it goes on where it stopped, and tries at once what had failed."""
    row = await _found(conn, subscription_id)
    after: dict[str, Any] = {
        name: given.get(name, row[name]) for name in ("url", "description", "types", "accounts", "enabled")
    }
    check_types(after["types"])
    reason = row["disabled_reason"]
    if after["enabled"] != row["enabled"]:
        reason = None if after["enabled"] else BY_HAND
    await subscriptions.change(conn, subscription_id, **after, disabled_reason=reason)
    if after["enabled"]:
        await notices.hurry(conn, subscription_id)
    return shown(await _found(conn, subscription_id))


async def rotate(conn: Connection, subscription_id: str, *, overlap_s: int = OVERLAP_S) -> dict[str, Any]:
    """A new secret; for ``overlap_s`` notices are signed with the old one too."""
    secret = new_secret()
    row = await subscriptions.rotate(conn, subscription_id, secret, overlap_s=overlap_s)
    if row is None:
        raise _none(subscription_id)
    return {"id": subscription_id, "secret": secret, "old_secret_until": row["secret_before_until"]}


async def remove(conn: Connection, subscription_id: str) -> dict[str, Any]:
    """Delete it, with its deliveries."""
    if not await subscriptions.remove(conn, subscription_id):
        raise _none(subscription_id)
    return {"id": subscription_id, "state": "deleted", "href": "/v1/subscriptions"}


async def test(conn: Connection, subscription_id: str, *, platform: str) -> dict[str, Any]:
    """Send a notice that says nothing, as real ones are sent. Raises Conflict while nothing is sent at all."""
    if not (await _found(conn, subscription_id))["enabled"]:
        raise Conflict(
            f"{subscription_id} is disabled, so nothing is sent: enable it first.", code="subscription_disabled"
        )
    what, now = f"test {secrets.token_hex(8)}", datetime.now(UTC)
    made = notes.notice(subscription_id, platform, what, notes.TEST, now, {"subscription": subscription_id})
    await notices.insert(conn, [made])
    return _accepted(subscription_id, made.notice_id)


async def again(conn: Connection, subscription_id: str, notice_id: str) -> dict[str, Any]:
    """Send one notice once more, now."""
    row = await notices.find(conn, subscription_id, notice_id)
    if row is None:
        raise NotFound(f"The subscription {subscription_id} has no delivery {notice_id}.")
    if await notices.again(conn, subscription_id, notice_id) is None:
        raise Conflict("This delivery is under way.", code="delivery_in_flight")
    return _accepted(subscription_id, notice_id)


async def replay(conn: Connection, subscription_id: str, since: datetime) -> dict[str, Any]:
    """Send everything since then once more, from the journal: also what came while it was disabled or did not exist."""
    row = await _found(conn, subscription_id)
    place = await feed.place_at(conn, since)
    if place < Place(row["cursor_txid"], row["cursor_account"], row["cursor_seq"]):
        await subscriptions.set_back(conn, subscription_id, place)
    href = f"/v1/subscriptions/{subscription_id}/deliveries"
    return {"id": subscription_id, "state": "replaying", "href": href}


async def find(conn: Connection, subscription_id: str) -> dict[str, Any]:
    """One subscription. Raises NotFound."""
    return shown(await _found(conn, subscription_id))


async def _found(conn: Connection, subscription_id: str) -> subscriptions.Row:
    row = await subscriptions.find(conn, subscription_id)
    if row is None:
        raise _none(subscription_id)
    return row


def _none(subscription_id: str) -> NotFound:
    return NotFound(f"There is no subscription {subscription_id}.")


def _accepted(subscription_id: str, notice_id: str) -> dict[str, Any]:
    href = f"/v1/subscriptions/{subscription_id}/deliveries/{notice_id}"
    return {"id": notice_id, "state": "pending", "href": href}


def shown(row: subscriptions.Row) -> dict[str, Any]:
    """A subscription as API and command line show it."""
    until = row["secret_before_until"]
    return {
        "id": row["id"],
        "url": row["url"],
        "description": row["description"],
        "types": row["types"],
        "accounts": row["accounts"],
        "enabled": row["enabled"],
        "disabled_reason": row["disabled_reason"],
        "failing_since": row["failing_since"],
        "old_secret_until": until if until is not None and until > datetime.now(UTC) else None,
        "created": row["created_at"],
    }


def shown_delivery(row: notices.Row) -> dict[str, Any]:
    """A notice and how its delivery stands."""
    return {
        "id": row["notice_id"],
        "type": row["type"],
        "account": row["account_id"],
        "status": row["status"],
        "attempts": row["attempts"],
        "response_code": row["response_code"],
        "error": row["error"],
        "due_at": row["due_at"] if row["status"] in {"pending", "in_flight"} else None,
        "delivered_at": row["delivered_at"],
        "created": row["created_at"],
    }
