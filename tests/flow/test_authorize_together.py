"""Decisions made at once, by several processes, on a real PostgreSQL: together they exceed nothing."""

import asyncio
import itertools
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.flow.authorize import SESSION, Authorizer
from app.machines.programme import Authorization, Velocity
from app.machines.purchase import request_of
from app.store import db, decision_facts, decisions
from app.store.decisions import Decided
from tests.flow.purchases import ACCOUNT, CARD, RULES, Builder, ask, event, now_ms, put, request, seed

_accounts = itertools.count(1)


@dataclass(frozen=True)
class Wanted:
    """One request of a burst: the first on its authorization, or more on one that others ask about too."""

    card: str
    amount: int
    authorization: int | None
    partial: bool


WANTED = st.builds(
    Wanted,
    card=st.sampled_from([CARD, "ic_2B"]),
    amount=st.integers(0, 400),
    authorization=st.none() | st.integers(0, 1),
    partial=st.booleans(),
)
BURSTS = st.lists(st.lists(WANTED, min_size=1, max_size=6), min_size=1, max_size=3)
CAP, DAILY, OF_CARD, OF_HOLDER, COUNT_MAX = 500, 900, 600, 800, 9


async def send(authorizer: Authorizer, account: str, number: int, wanted: Wanted) -> int:
    """Cents that were approved."""
    name = f"iauth_{account}_{wanted.authorization if wanted.authorization is not None else f'own{number}'}"
    asked = request(wanted.amount, authorization=name, card=wanted.card, request_history=[{}] * number)
    asked["pending_request"]["is_amount_controllable"] = wanted.partial
    envelope, body = event(asked, f"evt_{account}_{number}", account)
    answer = msgspec.json.decode((await authorizer.answer(envelope, body)).body)
    return int(answer.get("amount", wanted.amount)) if answer["approved"] else 0


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(available=st.integers(0, 1_500), bursts=BURSTS)
async def test_no_burst_exceeds_a_cap_or_the_balance(
    pool: db.Pool, build: Builder, available: int, bursts: list[list[Wanted]]
) -> None:
    account = f"acct_{next(_accounts)}"
    await seed(pool, available=available, account=account)
    holder = {"spending_limits": [{"amount": OF_HOLDER, "interval": "weekly", "categories": []}]}
    await put(pool, "ich_1", "cardholder", "active", {"spending_controls": holder}, account=account)
    controls = {"spending_limits": [{"amount": OF_CARD, "interval": "monthly", "categories": []}]}
    for card in (CARD, "ic_2B"):
        await put(pool, card, "card", "active", {"cardholder": "ich_1", "spending_controls": controls}, account=account)
    rules = Authorization(per_authorization=CAP, daily=DAILY, velocity=Velocity(count_max=COUNT_MAX))
    processes = [await build(rules, size=2), await build(rules, size=2)]
    numbers = itertools.count()
    approved = 0
    for burst in bursts:
        sent = [send(processes[n % 2], account, n, wanted) for n, wanted in zip(numbers, burst, strict=False)]
        approved += sum(await asyncio.gather(*sent))
    sums = "SELECT coalesce(max(s), 0) FROM (SELECT sum(amount) AS s FROM decisions WHERE account_id = $1 GROUP BY {}) AS g"
    assert approved == await pool.fetchval(
        "SELECT coalesce(sum(amount), 0) FROM decisions WHERE account_id = $1", account
    )
    assert approved <= min(available, OF_HOLDER)
    assert await pool.fetchval(sums.format("authorization_id"), account) <= CAP
    assert await pool.fetchval(sums.format("card_id"), account) <= OF_CARD
    passed = "SELECT count(*) FROM decisions WHERE account_id = $1 AND approved GROUP BY card_id"
    assert all(row["count"] <= COUNT_MAX for row in await pool.fetch(passed, account))
    for authorizer in processes:
        await authorizer.close()


async def test_requests_of_many_accounts_are_decided_together_each_for_itself(pool: db.Pool, build: Builder) -> None:
    accounts = [f"acct_{n}" for n in range(20)]
    for n, account in enumerate(accounts):
        await seed(pool, available=100 * n, account=account)
    authorizer = await build()
    sent = [authorizer.answer(*event(request(1_000), f"evt_{account}", account)) for account in accounts]
    answers = [msgspec.json.decode(response.body) for response in await asyncio.gather(*sent)]
    assert [answer["approved"] for answer in answers] == [100 * n >= 1_000 for n in range(20)]
    assert [answer["metadata"]["decision"] for answer in answers] == [f"evt_{account}" for account in accounts]
    begun_together = await pool.fetchval("SELECT count(DISTINCT decided_at) FROM decisions")
    assert begun_together == 1


def decided(event_id: str, amount: int) -> Decided:
    asked = request_of(request(amount, authorization=f"iauth_{event_id}"))
    return Decided(
        account_id=ACCOUNT,
        event_id=event_id,
        type="issuing_authorization.request",
        created=datetime.now(UTC),
        payload=b"{}",
        request=asked,
        approved=True,
        reason="approved",
        amount=amount,
        inputs={},
        took_us=1,
        decided_at_ms=now_ms(),
    )


@pytest.mark.parametrize("late", [False, True])
async def test_a_decision_on_facts_that_another_one_overtook_is_not_written(pool: db.Pool, late: bool) -> None:
    await seed(pool)
    async with pool.acquire() as conn:
        [facts] = await decision_facts.read(conn, [(ACCOUNT, request_of(request(1)))], RULES, now_ms())
        if late:
            await decisions.record_answered(conn, decided("evt_first", 1))
        else:
            assert await decisions.record(conn, [decided("evt_first", 1)], [facts.turn]) == {ACCOUNT}
        assert await decisions.record(conn, [decided("evt_second", 2)], [facts.turn]) == set()
        [again] = await decision_facts.read(conn, [(ACCOUNT, request_of(request(1)))], RULES, now_ms())
        assert await decisions.record(conn, [decided("evt_third", 3)], [again.turn]) == {ACCOUNT}
    assert {row["event_id"] for row in await pool.fetch("SELECT event_id FROM events")} == {"evt_first", "evt_third"}
    assert await pool.fetchval("SELECT count(*) FROM decisions") == 2


async def test_facts_are_found_by_indexes_and_debits_by_their_authorization(pool: db.Pool, dsn: str) -> None:
    await seed(pool)
    await pool.execute(
        "INSERT INTO decisions (account_id, authorization_id, request_event_id, card_id, approved, reason, amount,"
        " currency, requested, took_us) SELECT 'acct_' || n % 50, 'iauth_' || n, 'evt_' || n, 'ic_1A', true, 'approved',"
        " 1, 'usd', 1, 1 FROM generate_series(1, 5000) AS n"
    )
    await pool.execute(
        "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at) SELECT account_id,"
        " 'rd_' || authorization_id, 'received_debit', 'succeeded',"
        " jsonb_build_object('authorization', authorization_id), now() FROM decisions"
    )
    await pool.execute("ANALYZE")
    own = await db.open_pool(dsn, size=1, name="authorize", settings=SESSION)
    asked = decision_facts.arguments([(ACCOUNT, request_of(request(1)))], RULES, now_ms(), ())
    plan = "\n".join(row[0] for row in await own.fetch(f"EXPLAIN {decision_facts.FACTS}", *asked))
    await own.close()
    assert "Seq Scan" not in plan
    assert "objects_debits" in plan
    assert "data ->> 'authorization'::text) = h.authorization_id" in plan


async def test_a_dead_connection_that_was_kept_is_replaced(pool: db.Pool, build: Builder) -> None:
    await seed(pool)
    authorizer = await build()
    assert (await ask(authorizer, request(1)))["approved"]
    # With a timeout it returns once they are gone, not as soon as they are told to go.
    ended = (
        "SELECT bool_and(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = 'authorize'"
    )
    assert await pool.fetchval(ended)
    assert (await ask(authorizer, request(1)))["approved"]
