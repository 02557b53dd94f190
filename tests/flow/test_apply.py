"""apply on a real database: one transaction per batch, fenced by the lease; a poisoned event stops nobody else."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from app.flow.apply import ACCOUNTS_MAX, READING_MAX, Applier
from app.machines.events import AccountEnrolled
from app.machines.programme import Programme
from app.store import log, states
from app.store.db import Pool
from app.stripe.client import Stripe
from tests.machines import lives
from tests.patience import PATIENCE_S
from tests.polls import polled

PLATFORM = "acct_platform"
NOW_MS = 1_790_000_000_000


@pytest_asyncio.fixture
async def stripe() -> AsyncIterator[Stripe]:
    """A client of a Stripe that nobody runs: what these tests apply needs no reading."""
    client = Stripe("sk_test", "http://127.0.0.1:9", "2026-10-14.preview")
    yield client
    await client.close()


@pytest.fixture
def applier(pool: Pool, stripe: Stripe) -> Applier:
    return applier_of(pool, stripe)


def applier_of(pool: Pool, stripe: Stripe) -> Applier:
    return Applier(
        pool,
        stripe,
        Programme(),
        platform_account=PLATFORM,
        vocabulary="money_manager",
        clock=lambda: NOW_MS,
    )


async def deliver(
    pool: Pool, event_type: str, obj: dict[str, Any] | None, *, account: str = "acct_1", created: int = 0
) -> str:
    """Put one snapshot event into the log, as receive would."""
    event_id = f"evt_{uuid4().hex}"
    body = {
        "id": event_id,
        "object": "event",
        "account": account,
        "type": event_type,
        "created": 1_790_000_000 + created,
    }
    if obj is not None:
        body["data"] = {"object": obj}
    await pool.execute(
        "INSERT INTO events (account_id, event_id, source, type, kind, created, payload, status)"
        " VALUES ($1, $2, 'webhook', $3, 'snapshot', to_timestamp($4::float8), $5, 'pending')",
        account,
        event_id,
        event_type,
        1_790_000_000 + created,
        json.dumps(body).encode(),
    )
    return event_id


def card(status: str = "active", card_id: str = "ic_1") -> dict[str, Any]:
    return {"id": card_id, "object": "issuing.card", "status": status, "last4": "4242", "cardholder": "ich_1"}


async def drain(applier: Applier) -> None:
    while await polled(applier):
        pass


async def test_a_snapshot_becomes_an_object_a_journal_line_and_an_applied_event(pool: Pool, applier: Applier) -> None:
    event_id = await deliver(pool, "issuing_card.created", card())
    await drain(applier)
    held = await pool.fetchrow("SELECT kind, state, data FROM objects WHERE object_id = 'ic_1'")
    assert held is not None
    assert (held["kind"], held["state"], held["data"]["last4"]) == ("card", "active", "4242")
    line = await pool.fetchrow("SELECT machine, from_state, to_state, event_id FROM journal WHERE machine = 'card'")
    assert line is not None
    assert tuple(line) == ("card", None, "active", event_id)
    assert await pool.fetchval("SELECT status FROM events WHERE event_id = $1", event_id) == "applied"


async def test_events_out_of_order_end_where_events_in_order_end(pool: Pool, applier: Applier) -> None:
    await deliver(pool, "issuing_card.updated", card("canceled"), created=20)
    await drain(applier)
    await deliver(pool, "issuing_card.created", card("active"), created=10)
    await drain(applier)
    assert await pool.fetchval("SELECT state FROM objects WHERE object_id = 'ic_1'") == "canceled"


async def test_a_poisoned_event_is_parked_with_its_reason_and_stops_nobody(pool: Pool, applier: Applier) -> None:
    poisoned = await deliver(pool, "issuing_card.created", None)
    other = await deliver(pool, "issuing_card.created", card(card_id="ic_2"))
    await drain(applier)
    row = await pool.fetchrow("SELECT status, error FROM events WHERE event_id = $1", poisoned)
    assert row is not None
    assert (row["status"], row["error"]["code"]) == ("parked", "no_object")
    assert await pool.fetchval("SELECT status FROM events WHERE event_id = $1", other) == "applied"


async def test_an_unknown_type_is_kept_as_ignored(pool: Pool, applier: Applier) -> None:
    event_id = await deliver(pool, "issuing_hologram.created", {"id": "ih_1", "object": "issuing.hologram"})
    await drain(applier)
    assert await pool.fetchval("SELECT status FROM events WHERE event_id = $1", event_id) == "ignored"


async def test_a_nul_in_a_string_is_stored_and_applied(pool: Pool, applier: Applier) -> None:
    obj = {**card(), "metadata": {"note": "a\x00b"}}
    event_id = await deliver(pool, "issuing_card.created", obj)
    await drain(applier)
    assert await pool.fetchval("SELECT status FROM events WHERE event_id = $1", event_id) == "applied"


async def test_two_workers_share_the_accounts_and_apply_each_event_once(
    pool: Pool, applier: Applier, stripe: Stripe
) -> None:
    for n in range(60):
        await deliver(pool, "issuing_card.created", card(card_id=f"ic_{n}"), account=f"acct_{n % 20}")
    other = Applier(
        pool, stripe, Programme(), platform_account=PLATFORM, vocabulary="money_manager", clock=lambda: NOW_MS
    )
    while await polled(applier) | await polled(other):
        pass
    assert await pool.fetchval("SELECT count(*) FROM objects") == 60
    assert await pool.fetchval("SELECT count(*) FROM journal WHERE machine = 'card'") == 60


async def test_a_worker_that_lost_its_lease_writes_nothing(pool: Pool) -> None:
    await deliver(pool, "issuing_card.created", card())
    ours, theirs = uuid4(), uuid4()
    async with pool.acquire() as conn:
        assert (await states.claim(conn, token=ours, after="", accounts_max=10, lease_s=60))[0] == ["acct_1"]
        assert (await states.claim(conn, token=theirs, after="", accounts_max=10, lease_s=60))[0] == []
        await conn.execute("UPDATE accounts SET lease_token = $1", theirs)
        row = (await states.load_accounts(conn, ["acct_1"]))["acct_1"]
        written = states.AccountRow("acct_1", "live", row["since"], b"{}", False, None, 1, 1, True)
        assert await states.fence(conn, ours, [written]) == set()
        assert await conn.fetchval("SELECT state FROM accounts WHERE account_id = 'acct_1'") == "enrolled"


async def test_an_expired_lease_is_taken_over(pool: Pool) -> None:
    await deliver(pool, "issuing_card.created", card())
    async with pool.acquire() as conn:
        await states.claim(conn, token=uuid4(), after="", accounts_max=10, lease_s=-1)
        assert (await states.claim(conn, token=uuid4(), after="", accounts_max=10, lease_s=60))[0] == ["acct_1"]


async def test_one_account_with_a_large_backlog_does_not_hide_the_others(pool: Pool) -> None:
    for _ in range(300):
        await deliver(pool, "issuing_card.created", card(), account="acct_a")
    await deliver(pool, "issuing_card.created", card(), account="acct_b")
    async with pool.acquire() as conn:
        leased, _ = await states.claim(conn, token=uuid4(), after="", accounts_max=10, lease_s=60)
    assert sorted(leased) == ["acct_a", "acct_b"]


async def test_stages_commands_and_applied_commit_together(pool: Pool, applier: Applier) -> None:
    async with pool.acquire() as conn:
        await log.append(
            conn,
            account_id=lives.ACCOUNT,
            event_id="evt_enrolled",
            source="request",
            type="account.enrolled",
            happenings=[AccountEnrolled(enrollment_id="enr_1", request={"reference": "r"}, at=1), lives.account(2)],
            at_ms=1,
        )
    await drain(applier)
    command = await pool.fetchrow("SELECT kind, status, caused_by, idempotency_key, command_id FROM outbox")
    assert command is not None
    assert (command["kind"], command["status"], command["caused_by"]) == (
        "create_financial_account",
        "pending",
        "evt_enrolled",
    )
    assert command["idempotency_key"] == f"cardrail-{command['command_id']}"
    line = await pool.fetchrow("SELECT to_state, commands FROM journal WHERE machine = 'lifecycle'")
    assert line is not None
    assert (line["to_state"], line["commands"]) == ("activated", [command["command_id"]])
    assert await pool.fetchval("SELECT state FROM accounts WHERE account_id = $1", lives.ACCOUNT) == "activated"


async def deliver_thin(pool: Pool, account: str) -> None:
    """Put an event that points to its account into the log, as receive would."""
    body = {
        "id": "evt_thin",
        "object": "v2.core.event",
        "type": "v2.core.account.updated",
        "created": "2026-10-14T09:21:07.412Z",
        "context": account,
        "related_object": {"id": account, "type": "v2.core.account", "url": f"/v2/core/accounts/{account}"},
    }
    await pool.execute(
        "INSERT INTO events (account_id, event_id, source, type, kind, created, payload, status)"
        " VALUES ($1, 'evt_thin', 'webhook', $2, 'thin', now(), $3, 'pending')",
        account,
        body["type"],
        json.dumps(body).encode(),
    )


async def test_a_reading_that_fails_for_now_brings_the_event_back_later(pool: Pool, applier: Applier) -> None:
    await deliver_thin(pool, "acct_1")
    assert await polled(applier) is True
    row = await pool.fetchrow("SELECT status, attempts, error FROM events")
    assert row is not None
    assert (row["status"], row["attempts"], row["error"]["code"]) == ("pending", 1, "connection_lost")


async def test_a_reading_that_hangs_delays_no_other_account(pool: Pool) -> None:
    connections: list[asyncio.StreamWriter] = []

    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)

    await deliver_thin(pool, "acct_hangs")
    async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
        client = Stripe("sk_test", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "2026-10-14.preview")
        worker = applier_of(pool, client)
        for n in range(2):
            await deliver(pool, "issuing_card.created", card(card_id=f"ic_{n}"))
            async with asyncio.timeout(PATIENCE_S):
                while await pool.fetchval("SELECT count(*) FROM events WHERE status = 'applied'") <= n:
                    await worker.poll()
        assert await pool.fetchval("SELECT status FROM events WHERE account_id = 'acct_hangs'") == "pending"
        await worker.close(0)
        await client.close()
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("hanging", [ACCOUNTS_MAX, READING_MAX * ACCOUNTS_MAX + 1], ids=["a_batch", "all_places"])
async def test_readings_that_hang_delay_no_other_account_however_many_they_are(pool: Pool, hanging: int) -> None:
    """Stripe's ids all begin alike, so the account that comes last in the index stands behind all that hang."""
    connections: list[asyncio.StreamWriter] = []

    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)

    for n in range(hanging):
        await deliver_thin(pool, f"acct_1{n:04}")
    await deliver(pool, "issuing_card.created", card(), account="acct_1z")
    async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
        client = Stripe("sk_test", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "2026-10-14.preview")
        worker = applier_of(pool, client)
        async with asyncio.timeout(PATIENCE_S):
            while not await pool.fetchval("SELECT count(*) FROM events WHERE status = 'applied'"):
                await worker.poll()
        assert await pool.fetchval("SELECT max(attempts) FROM events") == 0  # no reading had come to an end
        await worker.close(0)
        await client.close()
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("neighbours", [1, 60])
async def test_an_event_that_cannot_be_written_is_parked_alone_among_its_neighbours(
    pool: Pool, applier: Applier, neighbours: int
) -> None:
    """A history whose time is no number is found out only when decisions are joined, inside the transaction."""
    await pool.execute(
        "INSERT INTO decisions (account_id, authorization_id, request_event_id, approved, reason, amount, currency,"
        " requested, took_us) VALUES ('acct_1', 'iauth_1', 'evt_r', true, 'approved', 1, 'usd', 1, 1)"
    )
    odd = {"id": "iauth_1", "object": "issuing.authorization", "status": "pending", "approved": True}
    for n in range(neighbours):
        await deliver(pool, "issuing_card.created", card(card_id=f"ic_before_{n}"), created=n)
    culprit = await deliver(
        pool, "issuing_authorization.created", {**odd, "request_history": [{"created": "noon"}]}, created=neighbours
    )
    for n in range(neighbours):
        await deliver(pool, "issuing_card.created", card(card_id=f"ic_after_{n}"), created=neighbours + 1 + n)
    await deliver(pool, "issuing_card.created", card(card_id="ic_elsewhere"), account="acct_2")
    polls = 1
    while await polled(applier):
        polls += 1
    assert await pool.fetchval("SELECT array_agg(event_id) FROM events WHERE status <> 'applied'") == [culprit]
    assert await pool.fetchval("SELECT status FROM events WHERE event_id = $1", culprit) == "parked"
    assert polls <= 10, "not one poll for each event before it"
