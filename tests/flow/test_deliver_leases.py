"""What is sent, is sent under a lease that is the sender's own and lasts for the call; what was given up still counts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple
from uuid import uuid4

from app.flow.calling import CALL_S
from app.flow.deliver import Deliverer
from app.machines.programme import Brakes, Caps
from app.store import controls, outbox
from app.store.db import Connection, Pool
from app.stripe.client import Stripe
from tests.flow.test_deliver import VERSION, deliverer, intend, outcome, stripe
from tests.patience import PATIENCE_S
from tests.polls import polled

__all__ = ["stripe"]

WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
Asked = Callable[[], Awaitable[None]]


class Door(NamedTuple):
    """A Stripe that takes every payment, and who sends to it; ``calls`` are the writes that it got."""

    sender: Deliverer
    calls: list[bytes]


@contextlib.asynccontextmanager
async def open_door(
    pool: Pool, asked: Asked, *, caps: Caps | None = None, short: bool = False, rate_per_s: float = 25
) -> AsyncIterator[Door]:
    """``short``: it has no money for any of them."""
    calls: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(await reader.readuntil(b"}}"))
        await asked()
        body = b'{"id": "obp_1", "object": "v2.money_management.outbound_payment", "status": "processing"}'
        if short:
            body = b'{"error": {"code": "insufficient_funds", "message": "x"}}'
        writer.write(b"HTTP/1.1 %b\r\nContent-Type: application/json\r\n" % (b"400 Bad" if short else b"200 OK"))
        writer.write(b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        client = Stripe(
            "sk_test", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", VERSION, rate_per_s=rate_per_s
        )
        yield Door(deliverer(pool, client, caps or Caps(), brakes=Brakes(cap=False)), calls)
        await client.close()


@contextlib.asynccontextmanager
async def queue_at_the_caps(pool: Pool, sender: Deliverer) -> AsyncIterator[Connection]:
    """Within the block the sender has claimed its command and waits for its turn at the caps."""
    async with pool.acquire() as conn:
        async with conn.transaction():
            await outbox.lock_money(conn)
            assert await sender.poll() is True
            async with asyncio.timeout(PATIENCE_S):
                while not await pool.fetchval(WAITING):  # noqa: ASYNC110 - a lock that is waited for gives no signal
                    await asyncio.sleep(0.01)
            yield conn
        await sender.settle()


async def nothing() -> None:
    return


async def test_a_worker_that_lost_its_lease_before_the_call_makes_none(pool: Pool) -> None:
    """Another worker took it up, parked it, and a person gave it up, all while the first one waited."""
    known = await intend(pool, "funding/1")
    async with open_door(pool, nothing) as door:
        async with queue_at_the_caps(pool, door.sender):
            await pool.execute("UPDATE outbox SET status = 'parked', lease_token = NULL, lease_until = NULL")
            async with pool.acquire() as other:
                assert await controls.discard_command(other, "acct_1", known, {"code": "discarded", "message": "x"})
        assert door.calls == []
    assert await outcome(pool, known) == ("rejected", "discarded")
    assert await pool.fetchval("SELECT first_call_at FROM outbox") is None
    assert await pool.fetchval("SELECT count(*) FROM events") == 0


async def test_a_lease_lasts_for_the_call_however_long_its_turn_at_the_caps_took(pool: Pool) -> None:
    known, left = await intend(pool, "funding/1"), list[float]()

    async def ask() -> None:
        left.append(
            await pool.fetchval("SELECT extract(epoch FROM least(due_at, lease_until) - now())::float8 FROM outbox")
        )

    async with open_door(pool, ask) as door:
        async with queue_at_the_caps(pool, door.sender):
            await pool.execute(
                "UPDATE outbox SET due_at = now() + interval '1 s', lease_until = now() + interval '1 s'"
            )
        assert len(door.calls) == 1
    assert left[0] > CALL_S
    assert (await outcome(pool, known))[0] == "settled"


async def test_a_new_key_is_written_only_under_the_lease_that_is_held(pool: Pool) -> None:
    known = await intend(pool, "funding/1")
    async with pool.acquire() as conn:
        [row] = await outbox.claim(conn, token=uuid4(), commands_max=1, lease_s=30)
        key, stale = row["idempotency_key"], {**row, "lease_token": uuid4()}
        assert await outbox.renew_key(conn, stale, f"{key}-stale", lease_s=30) is False
        assert await conn.fetchval("SELECT idempotency_key FROM outbox") == key
        assert await outbox.renew_key(conn, row, f"{key}-2", lease_s=30) is True
        assert await conn.fetchval("SELECT idempotency_key FROM outbox WHERE command_id = $1", known) == f"{key}-2"


async def test_what_was_sent_and_given_up_counts_against_the_caps_of_the_day(pool: Pool, stripe: Stripe) -> None:
    """Nobody knows that it moved nothing; what Stripe refused, moved nothing for sure."""
    sent, refused = await intend(pool, "funding/1"), await intend(pool, "funding/2")
    await polled(deliverer(pool, stripe, Caps()))
    await pool.execute("UPDATE outbox SET status = 'parked'")
    async with pool.acquire() as conn:
        assert await controls.discard_command(conn, "acct_1", sent, {"code": "discarded", "message": "x"})
        await conn.execute(
            """UPDATE outbox SET status = 'rejected', error = '{"code": "no"}' WHERE command_id = $1""", refused
        )
        assert await outbox.moved_today(conn, "acct_1") == (10_000, 10_000)
        assert await outbox.moved_today(conn, "acct_2") == (0, 10_000)


async def test_a_brake_set_while_a_command_is_read_back_stops_the_call_under_a_new_key(pool: Pool) -> None:
    """v1 repeated a stored 500 before; while the list is read that shows nothing was made, somebody sets a brake."""
    asked: list[bytes] = []

    async def braked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split()[0])
        await pool.execute("INSERT INTO brakes (step, reason, by) VALUES ('create_card', 'burst', 'ana')")
        body = b'{"object": "list", "data": [], "has_more": false}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
        writer.close()

    params = b'{"cardholder": "ich_1", "type": "virtual", "financial_account_v2": "fa_1"}'
    await pool.execute("INSERT INTO accounts (account_id) VALUES ('acct_1')")
    await pool.execute(
        "INSERT INTO outbox (account_id, command_id, kind, intent, idempotency_key, params, caused_by, status, error)"
        " VALUES ('acct_1', 'cmd_1', 'create_card', 'card/1', 'key', $1, 'evt_1', 'unknown', $2)",
        params,
        {"code": "replayed_500", "message": "x"},
    )
    async with await asyncio.start_server(braked, "127.0.0.1", 0) as server:
        client = Stripe("sk_test", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", VERSION)
        await polled(deliverer(pool, client, Caps()))
        await client.close()
    assert asked == [b"GET"]
    row = await pool.fetchrow("SELECT status, attempts, idempotency_key, error->>'code' FROM outbox")
    assert row is not None
    assert tuple(row) == ("unknown", 0, "key", "replayed_500")


async def test_what_waited_for_money_counts_on_the_day_on_which_it_moves(pool: Pool) -> None:
    """Else all that waits since other days could leave on one, beyond the cap of that day."""
    for n in range(3):
        await intend(pool, f"funding/{n}", account=f"acct_{n}")
    async with open_door(pool, nothing, short=True) as door:
        await polled(door.sender)
        assert len(door.calls) == 3
    await pool.execute("UPDATE outbox SET due_at = now(), first_call_at = first_call_at - interval '1 day'")
    async with open_door(pool, nothing, caps=Caps(per_programme_day=20_000)) as door:
        await polled(door.sender)
        assert len(door.calls) == 2
    found = await pool.fetch("SELECT status, error->>'code' AS code FROM outbox ORDER BY status")
    assert [tuple(row) for row in found] == [("parked", "cap_exceeded"), ("settled", None), ("settled", None)]


async def test_what_waits_for_its_turn_at_the_rate_is_stopped_by_a_brake_that_was_set_meanwhile(pool: Pool) -> None:
    for n in range(3):
        await intend(pool, f"funding/{n}", account=f"acct_{n}")

    async def brake() -> None:
        await pool.execute("INSERT INTO brakes (step, reason, by) VALUES ('create_outbound_payment', 'burst', 'ana')")

    async with open_door(pool, brake, rate_per_s=1) as door:
        await polled(door.sender)
        assert len(door.calls) == 1
    found = await pool.fetch("SELECT status, attempts, first_call_at IS NULL FROM outbox ORDER BY status, account_id")
    assert [tuple(row) for row in found] == [("pending", 0, True), ("pending", 0, True), ("settled", 1, False)]
    async with pool.acquire() as conn:
        assert (await outbox.moved_today(conn, "acct_0"))[1] == 10_000, (
            "what was kept back holds no place under the caps"
        )
