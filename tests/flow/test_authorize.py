"""Real-time authorizations on a real PostgreSQL: what is answered, what is kept, and that nothing is approved twice."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from app.flow.authorize import SESSION, Authorizer
from app.machines.programme import Authorization, Velocity
from app.store import db, decisions
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


def debit(authorization: str, amount: int) -> dict[str, Any]:
    return {"amount": {"value": amount, "currency": "usdc"}, "authorization": authorization}


@pytest.fixture
async def build(dsn: str) -> AsyncIterator[Builder]:
    """Makes authorizers, each with a pool of its own."""
    made: list[tuple[Authorizer, db.Pool]] = []

    async def one(rules: Authorization = RULES, size: int = 4, **options: Any) -> Authorizer:
        own = await db.open_pool(dsn, size=size, name="authorize", settings=SESSION)
        given = {"deadline_ms": 1_500, "default_approve": False, "version": VERSION, "clock": now_ms, **options}
        made.append((Authorizer(own, rules, **given), own))
        return made[-1][0]

    yield one
    for authorizer, own in made:
        await authorizer.close(wait_s=0.1)
        own.terminate()


async def test_an_approval_is_answered_recorded_and_its_event_kept(pool: db.Pool, build: Builder) -> None:
    await seed(pool)
    answer = await ask(await build(), request(1_250, authorization="iauth_a"), "evt_a")
    assert answer == {"approved": True, "metadata": {"rule": "approved", "decision": "evt_a"}}
    row = await pool.fetchrow("SELECT * FROM decisions")
    assert (row["authorization_id"], row["card_id"], row["approved"], row["amount"]) == ("iauth_a", CARD, True, 1_250)
    assert row["inputs"]["available"] == 10_000
    assert len(row["inputs"]["rules"]) == 12
    assert await pool.fetchval("SELECT status FROM events WHERE event_id = 'evt_a'") == "applied"


async def test_reasons_that_come_from_what_is_stored(pool: db.Pool, build: Builder) -> None:
    authorizer = await build()

    async def rule() -> str:
        return str((await ask(authorizer, request(100)))["metadata"]["rule"])

    assert await rule() == "account_unknown"
    await seed(pool)
    assert await rule() == "approved"
    await pool.execute("UPDATE accounts SET hold = '{}'")
    assert await rule() == "account_held"
    await pool.execute("UPDATE accounts SET hold = NULL, state = 'restricted'")
    assert await rule() == "account_restricted"
    await pool.execute("UPDATE accounts SET state = 'live'")
    await put(pool, CARD, "card", "inactive", {})
    assert await rule() == "card_inactive"
    limit = {"amount": 150, "interval": "daily", "categories": []}
    await put(pool, CARD, "card", "active", {"spending_controls": {"spending_limits": [limit]}})
    assert await rule() == "spending_limit_daily"
    await pool.execute("DELETE FROM objects")
    assert await rule() == "card_unknown"


async def test_fifty_requests_at_once_never_exceed_the_balance(pool: db.Pool, build: Builder) -> None:
    await seed(pool, available=1_000)
    both = [await build(size=4), await build(size=4)]
    answers = await asyncio.gather(*(ask(both[i % 2], request(100)) for i in range(50)))
    assert sum(a["approved"] for a in answers) == 10
    assert {a["metadata"]["rule"] for a in answers} == {"approved", "insufficient_balance"}
    assert await pool.fetchval("SELECT sum(amount) FROM decisions WHERE approved") == 1_000


async def test_fifty_requests_at_once_never_exceed_a_limit(pool: db.Pool, build: Builder) -> None:
    await seed(pool, available=1_000_000)
    authorizer = await build(Authorization(daily=500, velocity=Velocity(count_max=1_000)), size=8)
    answers = await asyncio.gather(*(ask(authorizer, request(100)) for _ in range(50)))
    assert sum(a["approved"] for a in answers) == 5


@pytest.mark.parametrize("interval", ["daily", "weekly", "monthly", "yearly", "all_time", "fortnightly"])
async def test_a_limit_of_the_card_counts_what_it_spent_before(pool: db.Pool, build: Builder, interval: str) -> None:
    await seed(pool)
    limit = {"amount": 150, "interval": interval, "categories": None}
    await put(pool, CARD, "card", "active", {"spending_controls": {"spending_limits": [limit]}})
    authorizer = await build()
    assert (await ask(authorizer, request(100)))["approved"]
    await pool.execute("UPDATE decisions SET decided_at = decided_at - interval '400 days'")
    forgotten = interval not in ("all_time", "fortnightly")
    assert (await ask(authorizer, request(100)))["approved"] == forgotten
    assert not (await ask(authorizer, request(100)))["approved"]


async def test_the_same_event_again_gets_the_same_answer_once(pool: db.Pool, build: Builder) -> None:
    await seed(pool, available=1_000)
    authorizer, asked = await build(), request(800)
    first = await ask(authorizer, asked, "evt_same")
    assert first["approved"]
    assert await ask(authorizer, asked, "evt_same") == first
    assert await ask(authorizer, asked, "evt_other") == first
    assert await pool.fetchval("SELECT count(*) FROM decisions") == 1
    rows = await pool.fetch("SELECT event_id, deliveries, status FROM events ORDER BY event_id")
    assert [tuple(row) for row in rows] == [("evt_other", 1, "applied"), ("evt_same", 2, "applied")]


async def test_an_increment_adds_to_its_authorization(pool: db.Pool, build: Builder) -> None:
    await seed(pool, available=1_000)
    authorizer = await build()
    assert (await ask(authorizer, request(400, authorization="iauth_i")))["approved"]
    more = request(400, authorization="iauth_i", held=400, request_history=[{"amount": 400, "approved": True}])
    assert (await ask(authorizer, more))["approved"]
    third = request(400, authorization="iauth_i", held=800, request_history=[{}, {}])
    assert (await ask(authorizer, third))["metadata"]["rule"] == "insufficient_balance"


async def test_a_part_is_approved_where_stripe_allows_it(pool: db.Pool, build: Builder) -> None:
    await seed(pool, available=900)
    authorizer, asked = await build(), request(1_000, pending={"is_amount_controllable": True})
    answer = await ask(authorizer, asked, "evt_p")
    assert (answer["approved"], answer["amount"], answer["metadata"]["rule"]) == (True, 900, "approved_partial")
    assert await ask(authorizer, asked, "evt_p") == answer


async def test_a_hold_counts_until_the_balance_shows_it(pool: db.Pool, build: Builder) -> None:
    await seed(pool, available=1_000)
    authorizer = await build()
    assert (await ask(authorizer, request(600, authorization="iauth_h")))["approved"]
    await balance(pool, 1_000)
    assert not (await ask(authorizer, request(600)))["approved"], "an unrelated reading frees nothing"
    await put(pool, "iauth_h", "authorization", "pending", {"approved": True})
    await put(pool, "rd_1", "received_debit", "pending", debit("iauth_h", 600))
    await balance(pool, 400)
    assert not (await ask(authorizer, request(401)))["approved"]
    assert (await ask(authorizer, request(400)))["approved"]


async def test_a_capture_holds_until_the_balance_is_read_after_it(pool: db.Pool, build: Builder) -> None:
    await seed(pool, available=1_000)
    authorizer = await build()
    assert (await ask(authorizer, request(600, authorization="iauth_c")))["approved"]
    await put(pool, "iauth_c", "authorization", "closed", {"approved": True})
    assert not (await ask(authorizer, request(401)))["approved"]
    await balance(pool, 400, later_ms=1_500)
    assert (await ask(authorizer, request(400)))["approved"]


@pytest.mark.parametrize("seed_of_chance", range(4))
async def test_whatever_is_seen_and_when_no_approval_exceeds_the_true_balance(
    pool: db.Pool, build: Builder, seed_of_chance: int
) -> None:
    chance, truth = random.Random(seed_of_chance), 5_000
    await seed(pool, available=truth)
    authorizer = await build()
    holds: dict[str, int] = {}
    debits: dict[str, tuple[str, int]] = {}
    untold: list[tuple[str, str]] = []
    approved = 0
    for _ in range(120):
        match chance.choice(["ask", "ask", "tell", "tell", "read", "capture", "reverse"]):
            case "ask":
                asked = request(chance.randint(1, 1_500))
                if (await ask(authorizer, asked))["approved"]:
                    amount, name = asked["pending_request"]["amount"], asked["id"]
                    truth, holds[name], debits[name] = truth - amount, amount, ("pending", amount)
                    untold += [(name, "pending"), (name, "debit")]
                    approved += 1
                assert truth >= 0
            case "tell" if untold:
                name, what = untold.pop(chance.randrange(len(untold)))
                if what == "debit":
                    state, amount = debits[name]
                    await put(pool, f"rd_{name}", "received_debit", state, debit(name, amount))
                    await balance(pool, truth)
                else:
                    await put(pool, name, "authorization", what, {"approved": True})
            case "read":
                await balance(pool, truth)
            case "capture" | "reverse" as how if holds:
                name, amount = holds.popitem()
                truth += amount if how == "reverse" else 0
                debits[name] = ("canceled" if how == "reverse" else "succeeded", amount)
                untold = [one for one in untold if one != (name, "pending")]
                untold += [(name, "reversed" if how == "reverse" else "closed"), (name, "debit")]
            case _:
                pass
    assert approved > 5


@pytest.mark.parametrize(("state", "approved"), [("reversed", True), ("expired", True), ("closed", False)])
async def test_what_ended_without_a_capture_holds_nothing(
    pool: db.Pool, build: Builder, state: str, approved: bool
) -> None:
    await seed(pool, available=1_000)
    authorizer = await build()
    assert (await ask(authorizer, request(1_000, authorization="iauth_e")))["approved"]
    await put(pool, "iauth_e", "authorization", state, {"approved": approved})
    assert (await ask(authorizer, request(1_000)))["approved"]


async def test_transfers_under_way_are_not_spent_again(pool: db.Pool, build: Builder) -> None:
    await seed(pool, available=1_000)
    await pool.execute(
        "INSERT INTO outbox (account_id, command_id, kind, intent, idempotency_key, params, amount, currency, status,"
        " caused_by) VALUES ($1, 'c', 'create_outbound_transfer', 'i', 'k', '{}', 700, 'usdc', 'in_flight', 'e')",
        ACCOUNT,
    )
    authorizer = await build()
    assert (await ask(authorizer, request(301)))["metadata"]["rule"] == "insufficient_balance"
    assert (await ask(authorizer, request(300)))["approved"]


async def test_a_stuck_account_delays_no_other(pool: db.Pool, build: Builder, dsn: str) -> None:
    await seed(pool)
    await seed(pool, account="acct_other")
    authorizer = await build(deadline_ms=1_000)
    other = await db.connect(dsn)
    await decisions.begin(other, ACCOUNT)
    stuck = [asyncio.create_task(ask(authorizer, request(1))) for _ in range(10)]
    await asyncio.sleep(0.05)
    begun = time.perf_counter()
    response = await authorizer.answer(*event(request(1), account="acct_other"))
    assert time.perf_counter() - begun < 0.5
    assert msgspec.json.decode(response.body)["approved"]
    await other.close()
    assert all(answer["approved"] for answer in await asyncio.gather(*stuck))


async def test_a_trial_tells_the_answer_and_leaves_no_trace(pool: db.Pool, build: Builder) -> None:
    await seed(pool, available=1_000)
    authorizer = await build()
    tried = await authorizer.trial(ACCOUNT, request(1_001))
    assert (tried["approved"], tried["reason"]) == (False, "insufficient_balance")
    assert {"room": 1_000, "reason": "insufficient_balance"} in tried["ceilings"]  # type: ignore[operator]  # JSON
    assert await pool.fetchval("SELECT count(*) FROM decisions") == 0
    with pytest.raises(ValueError, match="no pending amount"):
        await authorizer.trial(ACCOUNT, {"id": "iauth_x"})


@pytest.mark.parametrize("default", [False, True])
async def test_past_the_deadline_the_default_answers_and_is_kept(
    pool: db.Pool, build: Builder, dsn: str, default: bool
) -> None:
    await seed(pool)
    authorizer = await build(deadline_ms=150, default_approve=default)
    other = await db.connect(dsn)
    await decisions.begin(other, ACCOUNT)
    begun = time.perf_counter()
    answer = await ask(authorizer, request(100, authorization="iauth_d"), "evt_d")
    assert time.perf_counter() - begun < 1.0
    assert (answer["approved"], answer["metadata"]["rule"]) == (default, "no_decision_in_time")
    await other.close()
    await authorizer.settle()
    row = await pool.fetchrow("SELECT approved, reason, inputs FROM decisions")
    assert (row["approved"], row["reason"], row["inputs"]["why"]) == (default, "no_decision_in_time", "deadline")
    assert await ask(authorizer, request(100, authorization="iauth_d"), "evt_d") == answer


async def test_a_default_never_exceeds_the_hard_cap(pool: db.Pool, build: Builder, dsn: str) -> None:
    authorizer = await build(deadline_ms=50, default_approve=True)
    other = await db.connect(dsn)
    await decisions.begin(other, ACCOUNT)
    assert not (await ask(authorizer, request(1_000_001)))["approved"]
    await other.close()


async def test_without_a_database_the_default_answers_at_once_and_is_kept_later(
    pool: db.Pool, build: Builder, dsn: str
) -> None:
    await seed(pool)
    authorizer = await build()
    name = await pool.fetchval("SELECT current_database()")
    admin = await db.connect(dsn.replace(f"/{name}", "/postgres"))
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'authorize'",
        name,
    )
    begun = time.perf_counter()
    answers = [await ask(authorizer, request(100), f"evt_down{i}") for i in range(20)]
    assert time.perf_counter() - begun < 1.5
    assert {a["metadata"]["rule"] for a in answers} == {"no_decision_in_time"}
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await admin.close()
    await authorizer.settle()
    assert await pool.fetchval("SELECT count(*) FROM decisions WHERE reason = 'no_decision_in_time'") == 20
    assert await pool.fetchval("SELECT count(*) FROM events WHERE status = 'applied'") == 20
    assert (await ask(authorizer, request(100)))["approved"]


async def test_a_request_that_cannot_be_read_is_declined_and_parked(pool: db.Pool, build: Builder) -> None:
    await seed(pool)
    authorizer = await build()
    answer = await ask(authorizer, {"id": "iauth_x", "object": "issuing.authorization"}, "evt_x")
    assert (answer["approved"], answer["metadata"]["rule"]) == (False, "request_unreadable")
    await authorizer.settle()
    row = await pool.fetchrow("SELECT status, error FROM events")
    assert (row["status"], row["error"]["code"]) == ("parked", "request_unreadable")


async def test_what_stripe_recorded_joins_its_decision_and_frees_an_override(pool: db.Pool, build: Builder) -> None:
    await seed(pool, available=1_000)
    authorizer = await build()
    await ask(authorizer, request(1_000, authorization="iauth_s"))
    history = [{"amount": 1_000, "approved": False, "reason": "webhook_timeout", "created": 1}]
    async with pool.acquire() as conn:
        assert await decisions.record_stripe(conn, ACCOUNT, "iauth_s", history) == 1
        assert await decisions.record_stripe(conn, ACCOUNT, "iauth_s", history) == 0
        assert await decisions.record_stripe(conn, ACCOUNT, "iauth_unknown", history) == 0
    row = await pool.fetchrow("SELECT stripe_reason, stripe_approved FROM decisions")
    assert tuple(row) == ("webhook_timeout", False)
    assert (await ask(authorizer, request(1_000)))["approved"]
