"""deliver on a real database: caps, holds and brakes stop a command before any call; a lost worker's command returns."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio

from app.flow.deliver import Deliverer
from app.machines.commands import command_id, idempotency_key
from app.machines.programme import Brakes, Caps, Programme
from app.store import outbox
from app.store.db import Pool
from app.stripe.client import Stripe
from tests.conftest import payload_of
from tests.patience import PATIENCE_S
from tests.polls import polled

VERSION = "2026-10-14.preview"


@pytest_asyncio.fixture
async def stripe() -> AsyncIterator[Stripe]:
    """A client of a Stripe that nobody runs: a command that gets as far as a call ends as unknown."""
    client = Stripe("sk_test", "http://127.0.0.1:9", VERSION)
    yield client
    await client.close()


def deliverer(
    pool: Pool, stripe: Stripe, caps: Caps, on_sent: Callable[[], None] = lambda: None, *, brakes: Brakes | None = None
) -> Deliverer:
    return Deliverer(
        pool,
        stripe,
        Programme(caps=caps, brakes=brakes or Brakes()),
        platform_account="acct_platform",
        platform_financial_account="fa_platform",
        version=VERSION,
        clock=lambda: 1_790_000_000_000,
        on_sent=on_sent,
    )


async def intend(pool: Pool, intent: str, amount: int = 10_000, account: str = "acct_1") -> str:
    """Commit the intent of one outbound payment."""
    known = command_id(account, intent)
    params: dict[str, Any] = {
        "recipient": account,
        "payout_method": "fa_1",
        "amount": {"value": amount, "currency": "usd"},
        "to_currency": "usdc",
    }
    await pool.execute("INSERT INTO accounts (account_id) VALUES ($1) ON CONFLICT DO NOTHING", account)
    await pool.execute(
        "INSERT INTO outbox (account_id, command_id, kind, intent, idempotency_key, params, amount, currency, caused_by,"
        " status) VALUES ($1, $2, 'create_outbound_payment', $3, $4, $5, $6, 'usd', 'evt_1', 'pending')",
        account,
        known,
        intent,
        idempotency_key(known),
        json.dumps(params).encode(),
        amount,
    )
    return known


async def outcome(pool: Pool, known: str) -> tuple[str, str | None]:
    row = await pool.fetchrow("SELECT status, error FROM outbox WHERE command_id = $1", known)
    assert row is not None
    return row["status"], (row["error"] or {}).get("code")


@pytest.mark.parametrize(
    "caps",
    [
        Caps(per_command=9_999),
        Caps(per_account_day=9_999),
        Caps(per_programme_day=9_999),
    ],
)
async def test_money_above_a_cap_is_parked_and_never_sent(pool: Pool, stripe: Stripe, caps: Caps) -> None:
    known = await intend(pool, "funding/1")
    assert await polled(deliverer(pool, stripe, caps)) is True
    assert await outcome(pool, known) == ("parked", "cap_exceeded")
    assert await pool.fetchval("SELECT first_call_at FROM outbox") is None


async def test_commands_sent_at_once_cannot_together_pass_a_cap(pool: Pool, stripe: Stripe) -> None:
    for n in range(10):
        await intend(pool, f"funding/{n}", account=f"acct_{n}")
    await polled(deliverer(pool, stripe, Caps(per_programme_day=30_000), brakes=Brakes(cap=False)))
    called = await pool.fetchval("SELECT count(*) FROM outbox WHERE first_call_at IS NOT NULL")
    assert called == 3


async def test_a_lost_answer_is_unknown_and_comes_again_under_the_same_key(pool: Pool, stripe: Stripe) -> None:
    known = await intend(pool, "funding/1")
    sender = deliverer(pool, stripe, Caps())
    await polled(sender)
    assert await outcome(pool, known) == ("unknown", "connection_lost")
    await pool.execute("UPDATE outbox SET due_at = now()")
    await polled(sender)
    row = await pool.fetchrow("SELECT attempts, idempotency_key FROM outbox")
    assert row is not None
    assert tuple(row) == (2, idempotency_key(known))


async def test_a_replayed_answer_counts_as_read_when_it_was_first_asked(pool: Pool) -> None:
    """Stripe may answer a repeated key with what it stored then; an event read since is newer than that."""
    asked: list[bytes] = []

    async def forgetful(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"}}"))
        if len(asked) > 1:
            body = b'{"id": "obp_1", "object": "v2.money_management.outbound_payment", "status": "processing"}'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        writer.close()

    await intend(pool, "funding/1")
    async with await asyncio.start_server(forgetful, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = Stripe("sk_test", f"http://127.0.0.1:{port}", VERSION)
        sender = deliverer(pool, client, Caps())
        for _ in range(2):
            await pool.execute("UPDATE outbox SET due_at = now()")
            await polled(sender)
        await client.close()
    first = await pool.fetchval("SELECT first_call_at FROM outbox")
    payload = msgspec.json.decode(await payload_of(pool))
    assert [reading["at"] for reading in payload["objects"]] == [int(first.timestamp() * 1000)]


async def test_a_held_account_and_a_braked_kind_send_nothing(pool: Pool, stripe: Stripe) -> None:
    held = await intend(pool, "funding/1")
    await pool.execute("UPDATE accounts SET hold = $1", {"by": "ana", "reason": "audit", "at": 1})
    sender = deliverer(pool, stripe, Caps())
    assert await polled(sender) is False
    await pool.execute("UPDATE accounts SET hold = NULL")
    await pool.execute("INSERT INTO brakes (step, reason, by) VALUES ('create_outbound_payment', 'burst', 'ana')")
    assert await polled(sender) is False
    assert await outcome(pool, held) == ("pending", None)


async def test_a_command_whose_worker_died_is_claimed_again_when_its_lease_ends(pool: Pool) -> None:
    known = await intend(pool, "funding/1")
    async with pool.acquire() as conn:
        first = await outbox.claim(conn, token=uuid4(), commands_max=5, lease_s=60)
        assert [row["command_id"] for row in first] == [known]
        assert await outbox.claim(conn, token=uuid4(), commands_max=5, lease_s=60) == []
        await conn.execute("UPDATE outbox SET due_at = now(), lease_until = now()")
        again = await outbox.claim(conn, token=uuid4(), commands_max=5, lease_s=60)
    assert [(row["command_id"], row["idempotency_key"]) for row in again] == [(known, idempotency_key(known))]


async def test_an_outcome_under_a_lost_lease_is_not_written(pool: Pool) -> None:
    known = await intend(pool, "funding/1")
    async with pool.acquire() as conn:
        await outbox.claim(conn, token=uuid4(), commands_max=5, lease_s=60)
        written = await outbox.settle(
            conn, token=uuid4(), account_id="acct_1", command_id=known, status="settled", object_id="obp_1"
        )
    assert written is False
    assert (await outcome(pool, known))[0] == "in_flight"


async def test_a_call_that_hangs_keeps_its_own_place_only(pool: Pool) -> None:
    unanswered: list[asyncio.StreamWriter] = []

    async def half_deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"acct_hangs" in await reader.readuntil(b"}}"):
            unanswered.append(writer)
            return
        body = b'{"id": "obp_1", "object": "v2.money_management.outbound_payment", "status": "processing"}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        writer.close()

    hangs = await intend(pool, "funding/1", account="acct_hangs")
    async with await asyncio.start_server(half_deaf, "127.0.0.1", 0) as server:
        client = Stripe("sk_test", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", VERSION)
        sent = asyncio.Event()
        sender = deliverer(pool, client, Caps(), on_sent=sent.set)
        assert await sender.poll() is True
        for n in range(2):
            other = await intend(pool, f"funding/{n}", account=f"acct_{n}")
            assert await sender.poll() is True
            async with asyncio.timeout(PATIENCE_S):
                await sent.wait()
            sent.clear()
            assert (await outcome(pool, other))[0] == "settled"
        assert (await outcome(pool, hangs))[0] == "in_flight"
        await sender.close(0)
        await client.close()
        for writer in unanswered:
            writer.close()
