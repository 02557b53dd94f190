"""Purchases to decide on: requests as Stripe sends them, and what the database holds for them."""

import itertools
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from app.flow.authorize import Authorizer
from app.machines.programme import Authorization, Velocity
from app.store import db
from app.stripe.envelope import Envelope

ACCOUNT, CARD = "acct_1A", "ic_1A"
VERSION = "2026-10-14.preview"
RULES = Authorization(velocity=Velocity(count_max=1_000))
_numbers = itertools.count(1)

Builder = Callable[..., Awaitable[Authorizer]]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def request(
    amount: int, *, authorization: str | None = None, card: str = CARD, held: int = 0, **more: Any
) -> dict[str, Any]:
    pending = {"amount": amount, "currency": "usd", "is_amount_controllable": False, **more.pop("pending", {})}
    return {
        "id": authorization or f"iauth_{next(_numbers)}",
        "object": "issuing.authorization",
        "amount": held,
        "currency": "usd",
        "card": {"id": card, "status": "active"},
        "merchant_data": {"category": "grocery_stores_supermarkets", "country": "US"},
        "authorization_method": "online",
        "pending_request": pending,
        "request_history": [],
        **more,
    }


def event(asked: dict[str, Any], event_id: str | None = None, account: str = ACCOUNT) -> tuple[Envelope, bytes]:
    name = event_id or f"evt_{next(_numbers)}"
    envelope = Envelope(
        account_id=account,
        event_id=name,
        type="issuing_authorization.request",
        kind="snapshot",
        created=datetime.now(UTC),
        livemode=False,
    )
    return envelope, msgspec.json.encode({"id": name, "object": "event", "data": {"object": asked}})


async def ask(authorizer: Authorizer, asked: dict[str, Any], event_id: str | None = None) -> dict[str, Any]:
    response = await authorizer.answer(*event(asked, event_id))
    assert response.status_code == 200
    assert response.headers["stripe-version"] == VERSION
    assert response.headers["content-type"] == "application/json"
    answer: dict[str, Any] = msgspec.json.decode(response.body)
    return answer


async def seed(pool: db.Pool, *, available: int = 10_000, state: str = "live", account: str = ACCOUNT) -> None:
    facts = {"balance": {"available": {"usdc": available}, "at": now_ms()}}
    await pool.execute("INSERT INTO accounts (account_id, state, facts) VALUES ($1, $2, $3)", account, state, facts)
    await put(pool, CARD, "card", "active", {"spending_controls": {"spending_limits": []}}, account=account)


async def put(
    pool: db.Pool, object_id: str, kind: str, state: str, data: dict[str, Any], *, account: str = ACCOUNT
) -> None:
    await pool.execute(
        "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at, updated_at)"
        " VALUES ($1, $2, $3, $4, $5, clock_timestamp(), clock_timestamp()) ON CONFLICT (account_id, object_id)"
        " DO UPDATE SET state = $4, data = $5, observed_at = clock_timestamp(), updated_at = clock_timestamp()",
        account,
        object_id,
        kind,
        state,
        data,
    )


async def balance(pool: db.Pool, available: int, *, later_ms: int = 0) -> None:
    facts = {"balance": {"available": {"usdc": available}, "at": now_ms() + later_ms}}
    await pool.execute("UPDATE accounts SET facts = $2 WHERE account_id = $1", ACCOUNT, facts)


async def take_turn(conn: db.Connection, account: str) -> None:
    """Hold the account's turn open, as another process would that decides and is not done."""
    await conn.execute("BEGIN")
    await conn.execute(
        "INSERT INTO decision_turns AS t VALUES ($1, 1) ON CONFLICT (account_id) DO UPDATE SET turn = t.turn + 1",
        account,
    )


def debit(authorization: str, amount: int) -> dict[str, Any]:
    return {"amount": {"value": amount, "currency": "usdc"}, "authorization": authorization}
