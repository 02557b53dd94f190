"""Receive: an envelope and its bytes in, committed row out; concurrent deliveries share one insert and one fsync.

The rule it enforces: `accept` returns only after the commit, and within ``deadline_s`` in any case. A lone delivery is
flushed at once; what arrives while the flushers are busy shares the next flush. A row that the database refuses fails
alone. Nothing here notifies inside the ingest transaction: that would make the commits wait for each other.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import asyncpg
import msgspec

from app.errors import BadInput, Unavailable
from app.flow.kept import DATA_ERRORS, Connections
from app.log import get_logger
from app.store import events, rejections
from app.store.db import Connection, Pool
from app.stripe.envelope import Envelope

LOG = get_logger(__name__)

# For `open_pool(settings=...)`: no statement here waits long for a lock, and the lookup by key is never a scan, also
# when its plan was made while the table was small.
SESSION = {"lock_timeout": "500ms", "enable_seqscan": "off"}
BATCH_MAX = 256
BATCH_BYTES_MAX = 8_388_608
FLUSHERS_MAX = 2
BATCH_WORTH = 8
"""So many must wait before another flusher helps the one at work: small commits side by side cost more than they save."""
WAITING_BYTES_MAX = 134_217_728
DEADLINE_S = 1.8
RETRY_AFTER_S = 2
NOTIFY_EVERY_S = 0.05
WAKE_AFTER_S = 0.001
"""The answers leave before this process begins to apply what they are about."""
COUNT_LOCK_TIMEOUT_MS = 25
COUNT_AGAIN_S = 0.5
RECOUNT_MAX = 10_000
REJECTIONS_WAITING_MAX = 200
REJECTIONS_EVERY_S = 0.25

# The connection went away beneath us, or its server became a standby: a fresh one may work at once.
_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
    OSError,
)


class Accepted(msgspec.Struct, frozen=True):
    """Stored; ``new`` is False for a repeat."""

    new: bool


class _Waiter(msgspec.Struct):
    row: events.NewEvent
    done: asyncio.Future[Accepted]
    give_up_at: float


class Receiver:
    """Stores deliveries through ``pool`` (give it at least ``flushers_max`` + 2 connections of its own).

    ``on_new`` is called after each commit that brought new events to apply. Limits are arguments; see the module.
    ``quiet`` says that the last delivery had nobody beside it.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        on_new: Callable[[], None] | None = None,
        batch_max: int = BATCH_MAX,
        flushers_max: int = FLUSHERS_MAX,
        deadline_s: float = DEADLINE_S,
        notify_every_s: float = NOTIFY_EVERY_S,
        rejections_kept_max: int = 1000,
    ) -> None:
        self.on_new = on_new
        self._connections = Connections(pool)
        self._batch_max = batch_max
        self._flushers_max = flushers_max
        self._deadline_s = deadline_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self.quiet = True
        self._lone: asyncio.Future[Accepted] | None = None
        self._waiting: deque[_Waiter] = deque()
        self._waiting_bytes = 0
        self._flushers = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._recount: dict[events.Key, int] = {}
        self._rejections: deque[rejections.Rejection] = deque(maxlen=REJECTIONS_WAITING_MAX)
        self._kept_max = rejections_kept_max
        self._notify = _Throttle(notify_every_s, self._send_notify)
        self._keep = _Throttle(REJECTIONS_EVERY_S, self._keep_rejections)
        self._recounter = _Throttle(COUNT_AGAIN_S, self._count_again)

    async def accept(self, envelope: Envelope, body: bytes, *, status: str = "pending") -> Accepted:
        """Store one event; returns after the commit.

        Raises Unavailable within ``deadline_s`` when the database cannot store it, BadInput when it never will.
        """
        if self._waiting_bytes >= WAITING_BYTES_MAX:
            raise _unavailable("too many deliveries wait")
        self._waiting_bytes += len(body)
        loop = self._loop
        if loop is None:  # asking for it costs a system call each time
            loop = self._loop = asyncio.get_running_loop()
        done: asyncio.Future[Accepted] = loop.create_future()
        self._waiting.append(_Waiter(_row(envelope, body, status), done, loop.time() + self._deadline_s))
        if self.quiet and not self._flushers:
            self._flushers += 1
            self._lone = done
            await self._flush_lone()
        elif not self._flushers or (self._flushers < self._flushers_max and len(self._waiting) >= BATCH_WORTH):
            self._flushers += 1
            self._start(self._flush_all())
        return await done

    def reject(self, code: str, detail: dict[str, object]) -> None:
        """Remember a refused delivery; kept soon, in bounded memory: under a flood the newest ones remain."""
        if self._kept_max > 0:
            self._rejections.append(rejections.Rejection(code, detail))
            self._keep.ask()

    async def settle(self) -> None:
        """Wait until nothing is under way: counts, rejections and notifications included. For shutdown and tests."""
        throttles = (self._notify, self._keep, self._recounter)
        while True:
            under_way: list[asyncio.Future[Any]] = [
                *self._tasks,
                *(throttle.task for throttle in throttles if throttle.task),
            ]
            if self._lone is not None and not self._lone.done():
                under_way.append(self._lone)
            if not under_way:
                break
            await asyncio.wait(under_way)
        await self._connections.keep_none()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _flush_lone(self) -> None:
        """In quiet times a delivery is stored by its own task: another one would cost it two turns of the loop.

        In busy ones those turns are what lets others of the same moment join its batch.
        """
        batch = self._next_batch()
        try:
            if not await self._stored_at_once(batch[0]):
                await self._flush(batch)
        finally:
            batch[0].done.cancel()  # which does nothing when it is answered; else its own task was cancelled
            if self._waiting:
                self._start(self._flush_all())
            else:
                self._flushers -= 1

    async def _stored_at_once(self, waiter: _Waiter) -> bool:
        """Store a new event without what a batch needs, if a connection is at hand; all else is left to `_flush`."""
        new = await self._connections.insert(waiter.row, waiter.done.get_loop(), until=waiter.give_up_at)
        if new:
            waiter.done.set_result(_NEW)
            if waiter.row.status == "pending":
                self._wake()
        return new

    async def _flush_all(self) -> None:
        try:
            while self._waiting:
                await self._flush(self._next_batch())
        finally:
            self._flushers -= 1

    def _next_batch(self) -> list[_Waiter]:
        waiting, size, batch = self._waiting, 0, list[_Waiter]()
        while waiting and len(batch) < self._batch_max and size < BATCH_BYTES_MAX:
            waiter = waiting.popleft()
            size += len(waiter.row.payload)
            batch.append(waiter)
        self._waiting_bytes -= size
        self.quiet = len(batch) == 1
        return batch

    async def _flush(self, batch: list[_Waiter]) -> None:
        try:
            async with asyncio.timeout_at(batch[0].give_up_at):
                await self._store(batch)
        except Exception as error:  # noqa: BLE001  # whatever it is, nobody may be left waiting
            LOG.warning("receive.unavailable", error=repr(error), deliveries=len(batch) + len(self._waiting))
            self._fail([*batch, *self._waiting], error)
            self._waiting.clear()
            self._waiting_bytes = 0
            await self._connections.expire()

    def _fail(self, waiters: Sequence[_Waiter], error: Exception) -> None:
        for waiter in waiters:
            if not waiter.done.done():
                waiter.done.set_exception(_unavailable(type(error).__name__))

    async def _store(self, batch: list[_Waiter]) -> None:
        """One statement, one commit; once more on a fresh connection when the one we had turns out to be dead."""
        try:
            await self._store_once(batch)
        except DATA_ERRORS:
            await self._store_singly(batch)
        except _LOST:
            await self._connections.expire()
            await self._store_once(batch)

    async def _store_once(self, batch: list[_Waiter]) -> None:
        rows, firsts = _folded(batch)
        async with self._connections.one(keep=self.quiet) as connection:
            new = await events.insert_events(connection, rows, alone=True)
            if len(new) < len(rows):
                await self._count(connection, {row.key: row.deliveries for row in rows if row.key not in new})
            for waiter, first in zip(batch, firsts, strict=True):
                if not waiter.done.done():
                    waiter.done.set_result(_NEW if first and waiter.row.key in new else _REPEAT)
            if any(row.status == "pending" and row.key in new for row in rows):
                self._wake()

    async def _store_singly(self, batch: list[_Waiter]) -> None:
        if len(batch) > 1:
            for waiter in batch:
                await self._store([waiter])
            return
        [waiter] = batch
        if not waiter.done.done():
            waiter.done.set_exception(BadInput("The event cannot be stored.", code="event_unstorable"))

    def _wake(self) -> None:
        if self.on_new is not None:
            asyncio.get_running_loop().call_later(WAKE_AFTER_S, self.on_new)
        self._notify.ask()

    async def _count(self, connection: Connection, again: dict[events.Key, int]) -> None:
        """Count repeats; a row that a worker holds is counted later, so that nobody waits for the worker."""
        try:
            async with connection.transaction():
                await events.count_deliveries(connection, again, lock_timeout_ms=COUNT_LOCK_TIMEOUT_MS)
        except Exception as error:  # noqa: BLE001  # the events are stored; a count must not take that back
            LOG.debug("receive.count_postponed", error=repr(error))
            for key, times in again.items():
                if key in self._recount or len(self._recount) < RECOUNT_MAX:
                    self._recount[key] = self._recount.get(key, 0) + times
            self._recounter.ask()

    async def _count_again(self) -> None:
        again, self._recount = self._recount, {}
        async with self._connections.one() as connection:
            for key in sorted(again):
                await self._count(connection, {key: again[key]})

    async def _send_notify(self) -> None:
        async with self._connections.one() as connection:
            await events.notify(connection)

    async def _keep_rejections(self) -> None:
        rows = [*self._rejections]
        self._rejections.clear()
        async with self._connections.one() as connection:
            await rejections.keep(connection, rows, kept_max=self._kept_max)


_NEW = Accepted(new=True)
_REPEAT = Accepted(new=False)


class _Throttle:
    """Runs ``work`` soon after it is asked for, at most once per ``every_s``; a failure is logged, not raised."""

    def __init__(self, every_s: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.task: asyncio.Task[None] | None = None
        self._every_s = every_s
        self._work = work
        self._last = 0.0
        self._wanted = False

    def ask(self) -> None:
        self._wanted = True
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._wanted:
                await asyncio.sleep(max(0.0, self._last + self._every_s - time.monotonic()))
                self._wanted, self._last = False, time.monotonic()
                async with asyncio.timeout(DEADLINE_S):
                    await self._work()
        except Exception as error:  # noqa: BLE001  # none of these works is owed to anyone; polling is the net
            LOG.warning("receive.background_failed", error=repr(error))
        finally:
            self.task = None


def _row(envelope: Envelope, body: bytes, status: str) -> events.NewEvent:
    return events.NewEvent(
        account_id=envelope.account_id,
        event_id=envelope.event_id,
        type=envelope.type,
        kind=envelope.kind,
        created=envelope.created,
        payload=body,
        status=status,
        twin_id=envelope.twin_id,
    )


def _folded(batch: list[_Waiter]) -> tuple[list[events.NewEvent], list[bool]]:
    """The distinct rows of a batch in key order, and for each waiter whether it was the first of its key."""
    rows: dict[events.Key, events.NewEvent] = {}
    first: list[bool] = []
    for waiter in batch:
        key = waiter.row.key
        known = rows.get(key)
        first.append(known is None)
        rows[key] = waiter.row if known is None else msgspec.structs.replace(known, deliveries=known.deliveries + 1)
    return [rows[key] for key in sorted(rows)], first


def _unavailable(why: str) -> Unavailable:
    return Unavailable(f"The event could not be stored ({why}); send it again.", retry_after_s=RETRY_AFTER_S)
