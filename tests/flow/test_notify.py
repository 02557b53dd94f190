"""Notices over HTTP to a real receiver, proven with the verifier of the library that receivers use."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import pytest_asyncio
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from app.flow.notify import PER_RECEIVER_MAX, WAITS_S, Notifier
from app.flow.receivers import Allowed
from app.ops import subscriptions
from app.store import notices, states
from app.store.db import Pool
from tests.patience import PATIENCE_S


@dataclass
class Receiver:
    """A service that takes notices: answers with ``statuses`` in turn, then with ``status``."""

    url: str = ""
    status: int = 200
    statuses: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    release: asyncio.Event | None = None
    got: list[tuple[dict[str, str], str]] = field(default_factory=list)
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def told(self, count: int) -> None:
        """Return once ``count`` notices came."""
        async with self.came:
            await self.came.wait_for(lambda: len(self.got) >= count)

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.text()))
        async with self.came:
            self.came.notify_all()
        if self.release is not None:
            await self.release.wait()
        status = self.statuses.pop(0) if self.statuses else self.status
        return web.Response(status=status, headers=self.headers)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [orjson.loads(body) for _, body in self.got]

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]


Listen = Callable[[], Awaitable[Receiver]]


@pytest_asyncio.fixture
async def listen() -> AsyncIterator[Listen]:
    """Starts receivers, each on a port of its own."""
    runners: list[web.AppRunner] = []

    async def start() -> Receiver:
        receiver, app = Receiver(), web.Application()
        app.router.add_post("/hook", receiver.take)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        return receiver

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest_asyncio.fixture
async def receiver(listen: Listen) -> Receiver:
    return await listen()


@pytest_asyncio.fixture
async def notifier(pool: Pool) -> AsyncIterator[Notifier]:
    one = Notifier(pool, allowed=Allowed(http=True, private=True))
    yield one
    await one.close()


async def subscribe(pool: Pool, receiver: Receiver, *types: str, accounts: list[str] | None = None) -> dict[str, Any]:
    async with pool.acquire() as conn, conn.transaction():
        return await subscriptions.create(
            conn, url=receiver.url, types=types or ("*",), accounts=accounts, description=None
        )


async def change(pool: Pool, made: dict[str, Any], **members: object) -> None:
    async with pool.acquire() as conn, conn.transaction():
        await subscriptions.change(conn, made["id"], members)


async def write(pool: Pool, *lines: tuple[str, int, str, str | None, str], note: str | None = None) -> None:
    """Journal lines of (account, seq, machine, from, to)."""
    rows = [
        states.LineRow(account, seq, machine, f"{machine}_1", before, after, "evt_1", b"[]", note)
        for account, seq, machine, before, after in lines
    ]
    async with pool.acquire() as conn, conn.transaction():
        await states.write_journal(conn, rows)


async def moved(pool: Pool, seq: int = 1, account: str = "acct_1") -> None:
    await write(pool, (account, seq, "lifecycle", "funding", "funded"))


async def work(*notifiers: Notifier) -> None:
    """Everything that is due now."""
    for _ in range(3):
        while any([await one.poll() for one in notifiers]):
            pass
        for one in notifiers:
            await one.settle()


async def due_now(pool: Pool) -> None:
    await pool.execute("UPDATE notices SET due_at = now() WHERE status = 'pending'")


async def deliveries(pool: Pool, made: dict[str, Any]) -> list[notices.Row]:
    async with pool.acquire() as conn:
        return await notices.newest(conn, made["id"], limit=100)


async def found(pool: Pool, made: dict[str, Any]) -> dict[str, Any]:
    async with pool.acquire() as conn:
        return await subscriptions.find(conn, made["id"])


async def test_a_notice_is_signed_as_the_specification_says(pool: Pool, receiver: Receiver, notifier: Notifier) -> None:
    made = await subscribe(pool, receiver, "account.state_changed")
    await moved(pool)
    await work(notifier)
    [(headers, body)] = receiver.got
    told = Webhook(made["secret"]).verify(body, headers)
    assert told["type"] == "account.state_changed"
    assert told["timestamp"] == told["data"]["at"]
    seen = {name: told["data"][name] for name in ("account", "seq", "from", "to", "event_id")}
    assert seen == {"account": "acct_1", "seq": 1, "from": "funding", "to": "funded", "event_id": "evt_1"}
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(body + " ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(subscriptions.new_secret()).verify(body, headers)
    [row] = await deliveries(pool, made)
    assert (row["status"], row["attempts"], row["response_code"]) == ("delivered", 1, 200)
    assert row["notice_id"] == headers["webhook-id"]


async def test_a_subscription_hears_the_types_and_accounts_it_asked_for(
    pool: Pool, listen: Listen, notifier: Notifier
) -> None:
    cards, one, every = await listen(), await listen(), await listen()
    await subscribe(pool, cards, "card.*", "account.held")
    await subscribe(pool, one, "*", accounts=["acct_2"])
    await subscribe(pool, every, "*")
    await write(
        pool,
        ("acct_1", 1, "card", None, "active"),
        ("acct_1", 2, "lifecycle", "live", "restricted"),
        ("acct_1", 3, "account", "open", "closed"),
        ("acct_2", 1, "dispute", "submitted", "won"),
    )
    await write(pool, ("acct_1", 4, "lifecycle", "live", "live"), note="held by ops: fraud")
    await write(pool, ("acct_1", 5, "lifecycle", "live", "live"), note="released by ops: over")
    await write(pool, ("acct_1", 6, "lifecycle", "live", "live"))
    await work(notifier)
    assert sorted(b["type"] for b in cards.bodies) == ["account.held", "card.state_changed"]
    assert [b["type"] for b in one.bodies] == ["dispute.state_changed"]
    assert sorted(b["type"] for b in every.bodies) == [
        "account.held",
        "account.released",
        "account.state_changed",
        "card.state_changed",
        "dispute.state_changed",
        "stripe_account.state_changed",
    ]


async def test_what_was_before_the_subscription_is_not_told_unless_replayed(
    pool: Pool, receiver: Receiver, notifier: Notifier
) -> None:
    begun = datetime.now(UTC)
    await moved(pool, 1)
    made = await subscribe(pool, receiver)
    await moved(pool, 2)
    await work(notifier)
    assert [b["data"]["seq"] for b in receiver.bodies] == [2]
    async with pool.acquire() as conn, conn.transaction():
        await subscriptions.replay(conn, made["id"], begun)
    await work(notifier)
    assert sorted(b["data"]["seq"] for b in receiver.bodies) == [1, 2, 2]
    assert len(set(receiver.ids)) == 2


async def test_a_failure_is_tried_again_under_the_same_id_and_later_each_time(
    pool: Pool, receiver: Receiver, notifier: Notifier
) -> None:
    made = await subscribe(pool, receiver)
    receiver.statuses = [500, 302]
    await moved(pool)
    for attempt, (code, wait_s) in enumerate([(500, WAITS_S[0]), (302, WAITS_S[1])], 1):
        await work(notifier)
        [row] = await deliveries(pool, made)
        assert (row["status"], row["attempts"], row["response_code"]) == ("pending", attempt, code)
        left = (row["due_at"] - datetime.now(UTC)).total_seconds()
        assert wait_s * 0.8 - 1 < left < wait_s * 1.2
        assert (await found(pool, made))["failing_since"] is not None
        await due_now(pool)
    await work(notifier)
    [row] = await deliveries(pool, made)
    assert (row["status"], row["attempts"], row["error"]) == ("delivered", 3, None)
    assert len(receiver.got) == 3
    assert len(set(receiver.ids)) == 1
    assert (await found(pool, made))["failing_since"] is None


async def test_a_receiver_may_say_when_to_come_again(pool: Pool, receiver: Receiver, notifier: Notifier) -> None:
    made = await subscribe(pool, receiver)
    receiver.status, receiver.headers = 429, {"Retry-After": "600"}
    await moved(pool)
    await work(notifier)
    [row] = await deliveries(pool, made)
    assert row["due_at"] > datetime.now(UTC) + timedelta(seconds=590)


async def test_a_notice_that_always_fails_ends_and_can_be_sent_again(
    pool: Pool, receiver: Receiver, notifier: Notifier
) -> None:
    made = await subscribe(pool, receiver)
    receiver.status = 500
    await moved(pool)
    for _ in range(len(WAITS_S) + 1):
        await work(notifier)
        await due_now(pool)
    [row] = await deliveries(pool, made)
    assert (row["status"], row["attempts"], len(receiver.got)) == ("failed", len(WAITS_S) + 1, len(WAITS_S) + 1)
    receiver.status = 204
    async with pool.acquire() as conn, conn.transaction():
        await subscriptions.again(conn, made["id"], row["notice_id"])
    await work(notifier)
    assert [row["status"] for row in await deliveries(pool, made)] == ["delivered"]


async def test_a_receiver_that_takes_nothing_for_long_is_disabled_and_resumes_when_enabled(
    pool: Pool, receiver: Receiver, notifier: Notifier
) -> None:
    made = await subscribe(pool, receiver)
    receiver.status = 500
    await moved(pool, 1)
    await work(notifier)
    await pool.execute("UPDATE subscriptions SET failing_since = now() - interval '2 days'")
    await due_now(pool)
    await work(notifier)
    shown = await found(pool, made)
    assert not shown["enabled"]
    assert "answered 500" in shown["disabled_reason"]
    await moved(pool, 2)
    await due_now(pool)
    await work(notifier)
    assert len(receiver.got) == 2
    receiver.status = 200
    await change(pool, made, enabled=True)
    await work(notifier)
    assert sorted(b["data"]["seq"] for b in receiver.bodies[2:]) == [1, 2]
    shown = await found(pool, made)
    assert (shown["enabled"], shown["disabled_reason"], shown["failing_since"]) == (True, None, None)


async def test_gone_disables_at_once(pool: Pool, receiver: Receiver, notifier: Notifier) -> None:
    made = await subscribe(pool, receiver)
    receiver.status = 410
    await moved(pool)
    await work(notifier)
    shown = await found(pool, made)
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "The receiver answered 410 Gone.")


async def test_while_a_secret_is_exchanged_both_signatures_are_sent(
    pool: Pool, receiver: Receiver, notifier: Notifier
) -> None:
    made = await subscribe(pool, receiver)
    async with pool.acquire() as conn, conn.transaction():
        fresh = await subscriptions.rotate(conn, made["id"], overlap_s=3600)
    await moved(pool, 1)
    await work(notifier)
    await pool.execute("UPDATE subscriptions SET secret_before_until = now()")
    await moved(pool, 2)
    await work(notifier)
    (first, body), (second, later) = receiver.got
    for secret in (made["secret"], fresh["secret"]):
        Webhook(secret).verify(body, first)
    Webhook(fresh["secret"]).verify(later, second)
    with pytest.raises(WebhookVerificationError):
        Webhook(made["secret"]).verify(later, second)


async def test_a_subscription_whose_secret_was_changed_by_hand_says_so(
    pool: Pool, receiver: Receiver, notifier: Notifier
) -> None:
    made = await subscribe(pool, receiver)
    await pool.execute("UPDATE subscriptions SET secret = set_byte(secret, 20, get_byte(secret, 20) # 1)")
    await moved(pool)
    await work(notifier)
    [row] = await deliveries(pool, made)
    assert (row["status"], row["error"]) == ("pending", "the signing secret does not open; make a new one")
    async with pool.acquire() as conn, conn.transaction():
        fresh = await subscriptions.rotate(conn, made["id"])
    await due_now(pool)
    await work(notifier)
    [(headers, body)] = receiver.got
    Webhook(fresh["secret"]).verify(body, headers)


async def test_a_slow_receiver_delays_nobody_and_holds_few_places(
    pool: Pool, listen: Listen, notifier: Notifier
) -> None:
    slow, quick = await listen(), await listen()
    slow.release = asyncio.Event()
    await subscribe(pool, slow)
    await subscribe(pool, quick)
    for seq in range(1, 3 * PER_RECEIVER_MAX + 1):
        await moved(pool, seq)
    async with asyncio.timeout(PATIENCE_S):
        while len(quick.got) < 3 * PER_RECEIVER_MAX:
            await notifier.poll()
            await asyncio.sleep(0.01)
    assert len(slow.got) <= PER_RECEIVER_MAX
    slow.release.set()
    await work(notifier)
    await work(notifier)
    assert sorted(b["data"]["seq"] for b in slow.bodies) == list(range(1, 3 * PER_RECEIVER_MAX + 1))


async def test_several_workers_send_each_notice_once(pool: Pool, receiver: Receiver) -> None:
    made = await subscribe(pool, receiver)
    workers = [Notifier(pool, allowed=Allowed(http=True, private=True)) for _ in range(4)]
    for seq in range(1, 41):
        await moved(pool, seq)
    for _ in range(4):
        await asyncio.gather(*(work(worker) for worker in workers))
    assert sorted(b["data"]["seq"] for b in receiver.bodies) == list(range(1, 41))
    assert {row["status"] for row in await deliveries(pool, made)} == {"delivered"}
    for worker in workers:
        await worker.close()


async def test_what_a_dead_worker_was_sending_is_sent_by_another(
    pool: Pool, receiver: Receiver, notifier: Notifier
) -> None:
    await subscribe(pool, receiver)
    dead = Notifier(pool, allowed=Allowed(http=True, private=True))
    receiver.release = asyncio.Event()
    await moved(pool)
    await dead.poll()
    await dead.close()
    receiver.release.set()
    await work(notifier)
    assert len(receiver.got) <= 1
    before = len(receiver.got)
    await pool.execute("UPDATE notices SET due_at = now()")
    await work(notifier)
    assert len(receiver.got) == before + 1
    assert len(set(receiver.ids)) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_an_address_of_the_inside_is_not_called_even_when_it_was_not_known_at_the_start(
    pool: Pool, receiver: Receiver, host: str
) -> None:
    """As when a name answers differently later: the check is made for the socket that is opened."""
    strict = Notifier(pool, allowed=Allowed(http=True, private=False))
    receiver.url = receiver.url.replace("127.0.0.1", host)
    made = await subscribe(pool, receiver)
    await moved(pool)
    await work(strict)
    [row] = await deliveries(pool, made)
    assert (row["status"], row["error"]) == ("pending", "the address is not public")
    assert receiver.got == []
    await strict.close()


async def test_a_receiver_that_is_not_there_is_tried_again(pool: Pool, notifier: Notifier) -> None:
    made = await subscribe(pool, Receiver(url="http://127.0.0.1:9/hook"))
    await moved(pool)
    await work(notifier)
    [row] = await deliveries(pool, made)
    assert (row["status"], row["response_code"], row["error"]) == ("pending", None, "ClientConnectorError")
