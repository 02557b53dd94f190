"""Real-time authorizations on a real PostgreSQL: what is answered, what is kept, and that nothing is approved twice."""

import asyncio
import random
from typing import Any

import pytest

from app.machines.programme import Authorization, Velocity
from app.store import db, decisions
from tests.flow.purchases import ACCOUNT, CARD, Builder, ask, balance, debit, now_ms, put, request, seed


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


async def test_a_brake_stops_our_steps_and_no_purchase(pool: db.Pool, build: Builder) -> None:
    """DESIGN: a brake stops automation while receiving goes on; only a hold is among the rules of a decision."""
    await seed(pool)
    await pool.execute("INSERT INTO brakes (step, reason, by) VALUES ('all', 'burst', 'ana')")
    assert (await ask(await build(), request(100)))["metadata"]["rule"] == "approved"


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


@pytest.mark.parametrize("shown", [True, False])
async def test_a_limit_of_the_cardholder_counts_all_its_cards(pool: db.Pool, build: Builder, shown: bool) -> None:
    await seed(pool)
    limit = {"spending_limits": [{"amount": 250, "interval": "weekly", "categories": []}]}
    await put(pool, "ich_1", "cardholder", "active", {} if shown else {"spending_controls": limit})
    for card in (CARD, "ic_2B"):
        await put(pool, card, "card", "active", {"cardholder": "ich_1"})
    await put(pool, "ic_other", "card", "active", {"cardholder": "ich_2"})
    more: dict[str, Any] = {"cardholder": {"id": "ich_1", "spending_controls": limit}} if shown else {}
    authorizer = await build()
    assert (await ask(authorizer, request(150, **more)))["approved"]
    assert (await ask(authorizer, request(150, card="ic_other")))["approved"]
    refused = await ask(authorizer, request(150, card="ic_2B", **more))
    assert refused["metadata"]["rule"] == "spending_limit_weekly"
    assert (await ask(authorizer, request(100, card="ic_2B", **more)))["approved"]


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


async def test_a_balance_read_since_the_closing_was_heard_shows_the_capture(pool: db.Pool, build: Builder) -> None:
    """Also within the second that Stripe's time of the event is floored to."""
    await seed(pool, available=1_000)
    authorizer = await build()
    assert (await ask(authorizer, request(600, authorization="iauth_c")))["approved"]
    await balance(pool, 400)
    heard = now_ms() + 100
    await put(pool, "iauth_c", "authorization", "closed", {"approved": True, "closed_heard_ms": heard})
    assert not (await ask(authorizer, request(400)))["approved"], "that balance was read before"
    await balance(pool, 400, later_ms=200)
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
