"""notify: makes notices of journal lines, and delivers them to whoever subscribed.

The first half reads the journal's one stream (`store.feed`) behind each subscription's cursor; notices and cursor are
one transaction, so no line is lost or made a notice twice. The second half sends: at least once, under an id that
stays the same, each receiver within its own few places, so that a slow one delays nobody else. Lines of one account
may arrive out of order; `data.seq` tells. Any number of processes may run this.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

import aiohttp
import structlog

from app import metrics
from app.errors import BadInput
from app.flow import notices, receivers
from app.flow.horizon import Horizon
from app.flow.receivers import Allowed
from app.store import audit, feed, subscriptions
from app.store import notices as stored
from app.store.db import Connection, Pool
from app.store.feed import Place

LOG = structlog.get_logger()

LINES_MAX = 500
PER_RECEIVER_MAX = 8
LEASE_S = 30.0
WAITS_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
"""Before the second attempt, the third and so on; after the last one a notice has failed."""
JITTER = 0.1
RETRY_AFTER_MAX_S = 36_000
DISABLE_AFTER_S = 24 * 3600.0
"""A subscription to which nothing got through for this long is disabled."""
GONE = 410

Row = Mapping[str, object]


class Attempt(NamedTuple):
    """How one attempt ended: the receiver's status if it answered, else what went wrong; when it wants to be asked again."""

    code: int | None
    error: str | None = None
    retry_after_s: float | None = None

    @property
    def ok(self) -> bool:
        return self.code is not None and 200 <= self.code < 300


class Notifier:
    """Fans out and delivers; schedule ``poll``, and ``close`` in the end. ``ring`` wakes the schedule."""

    def __init__(
        self,
        pool: Pool,
        *,
        allowed: Allowed,
        ring: Callable[[], None] = lambda: None,
        disable_after_s: float = DISABLE_AFTER_S,
    ) -> None:
        self._pool = pool
        self._ring = ring
        self._disable_after_s = disable_after_s
        self._allowed = allowed
        self._horizon = Horizon()
        self._rng = random.Random()
        self._session: aiohttp.ClientSession | None = None
        self._sending: dict[str, set[asyncio.Task[None]]] = {}

    async def close(self) -> None:
        """Stop sending; what was under way is sent again when its lease ends."""
        tasks = [task for own in self._sending.values() for task in own]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._sending:
            await asyncio.wait([task for own in self._sending.values() for task in own])

    async def poll(self) -> bool:
        """Make notices of new lines and start what is due. True when there may be more at once."""
        async with self._pool.acquire() as conn:
            targets = {str(row["id"]): row for row in await subscriptions.enabled(conn)}
            if not targets:
                return False
            more = await self._fan_out(conn, list(targets.values()))
            free = {name: PER_RECEIVER_MAX - len(self._sending.get(name, ())) for name in targets}
            token = uuid4()
            asked = {name: places for name, places in free.items() if places > 0}
            rows = await stored.claim(conn, token=token, free=asked, lease_s=LEASE_S) if asked else []
        for row in rows:
            self._start(token, targets[row["subscription_id"]], row)
        return more

    # -- making notices -----------------------------------------------------------------------------------------

    async def _fan_out(self, conn: Connection, targets: list[subscriptions.Row]) -> bool:
        """Take each group of subscriptions with one cursor a page further."""
        groups: dict[Place, list[str]] = {}
        for row in targets:
            at = Place(row["cursor_txid"], row["cursor_account"], row["cursor_seq"])
            groups.setdefault(at, []).append(row["id"])
        below, more = await self._horizon.below(conn), False
        for cursor, ids in groups.items():
            lines = await feed.lines(conn, cursor, below=below, limit=LINES_MAX)
            more = more or len(lines) == LINES_MAX
            if lines:
                await self._make(conn, ids, cursor, lines)
        metrics.stream_lag(await self._horizon.held_up_s(conn, below) or 0.0)
        return more

    async def _make(self, conn: Connection, ids: list[str], cursor: Place, lines: list[feed.Row]) -> None:
        async with conn.transaction():
            moved = await subscriptions.advance(conn, ids, cursor, feed.place(lines[-1]))
            made = [
                notices.notice_of(to["id"], line, name)
                for line in lines
                if (name := notices.type_of(line)) is not None
                for to in moved
                if notices.wanted(to, name, line["account_id"])
            ]
            if made:
                await stored.insert(conn, made)

    # -- sending ------------------------------------------------------------------------------------------------

    def _start(self, token: UUID, target: subscriptions.Row, row: stored.Row) -> None:
        own = self._sending.setdefault(target["id"], set())
        task = asyncio.create_task(self._send(token, target, row))
        own.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            own.discard(done)
            if not own:
                self._sending.pop(target["id"], None)
            self._ring()

        task.add_done_callback(ended)

    async def _send(self, token: UUID, target: subscriptions.Row, row: stored.Row) -> None:
        with structlog.contextvars.bound_contextvars(subscription=target["id"], notice=row["notice_id"]):
            try:
                attempt = await self._attempt(target, row)
                async with self._pool.acquire() as conn, conn.transaction():
                    await self._record(conn, token, target, row, attempt)
            except Exception:  # what it leaves is a lease that ends, so the notice comes up again
                LOG.exception("notify.failed")

    async def _attempt(self, target: subscriptions.Row, row: stored.Row) -> Attempt:
        if self._session is None:
            self._session = receivers.session(self._allowed)
        if not target["secret"]:
            return Attempt(None, "the signing secret does not open; make a new one")
        secrets = [target["secret"].decode()]
        until = target["secret_before_until"]
        if target["secret_before"] and until is not None and until > datetime.now(UTC):
            secrets.append(target["secret_before"].decode())
        head = notices.headers(row["notice_id"], row["body"], secrets)
        try:
            url = receivers.parsed(target["url"], self._allowed)
            sent = self._session.post(url, data=row["body"].encode(), headers=head, allow_redirects=False)
            async with sent as answer:
                return Attempt(answer.status, _said(answer.status), _retry_after_s(answer.headers.get("Retry-After")))
        except TimeoutError:
            return Attempt(None, f"no answer within {receivers.TIMEOUT_S:.0f} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            refused = isinstance(getattr(error, "os_error", error), receivers.Refused)
            return Attempt(None, "the address is not public" if refused else type(error).__name__)
        except BadInput as error:
            return Attempt(None, error.message)

    async def _record(
        self, conn: Connection, token: UUID, target: subscriptions.Row, row: stored.Row, attempt: Attempt
    ) -> None:
        name, attempts = target["id"], row["attempts"]
        status, due_s = "pending", 0.0
        if attempt.ok:
            status = "delivered"
        elif attempts > len(WAITS_S):
            status = "failed"
        else:
            wait_s = WAITS_S[attempts - 1] * (1 + self._rng.uniform(-JITTER, JITTER))
            due_s = max(wait_s, min(attempt.retry_after_s or 0.0, RETRY_AFTER_MAX_S))
        ours = await stored.settle(
            conn,
            token=token,
            account_id=row["account_id"],
            notice_id=row["notice_id"],
            status=status,
            response_code=attempt.code,
            error=attempt.error,
            due_s=due_s,
        )
        if not ours:
            return
        metrics.notice("delivered" if attempt.ok else "failed" if status == "failed" else "again")
        if attempt.ok:
            await subscriptions.succeeded(conn, name)
            return
        why = attempt.error or ""
        if attempt.code == GONE:
            disabled = await subscriptions.disable(conn, name, "The receiver answered 410 Gone.")
        else:
            disabled = await subscriptions.failed(conn, name, why, disable_after_s=self._disable_after_s)
        if disabled:
            LOG.warning("subscription.disabled", subscription=name, last=why)
            await audit.note(conn, who="notify", action="subscriptions.disable", target=name, reason=why)


def _said(code: int) -> str | None:
    if 200 <= code < 300:
        return None
    return f"redirects are not followed ({code})" if 300 <= code < 400 else f"answered {code}"


def _retry_after_s(header: str | None) -> float | None:
    return float(header) if header is not None and header.isascii() and header.isdigit() and len(header) < 9 else None
