"""The tail of the journal: one reader per process that feeds every open stream, however many there are.

It reads while anybody listens, woken by NOTIFY and, as the net below it, by the clock. Each line is encoded once and
the same bytes go to every seat. A seat that falls ``WAITING_LINES_MAX`` behind is dropped: its stream ends, and the
client resumes by its last id. So a slow reader costs neither memory nor anybody's time.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Sequence

import orjson

from app import metrics
from app.flow import loops
from app.flow.horizon import HELD_UP_S, Horizon
from app.store import db, feed, views
from app.store.feed import Place, Row
from app.web import shown
from app.web.deps import reading
from app.web.doorkeeper import Doorkeeper
from app.wiring import Services

LOOK_EVERY_S = 0.25
LOOK_AGAIN_S = 0.02
"""When lines are there and an older transaction still runs, which is over in a moment."""
LINES_MAX = 500
WAITING_LINES_MAX = 5_000
CHECK_KEYS_EVERY_S = 0.4
"""With what the doorkeeper remembers below the second within which a revocation must work."""
SPENT = b": the end of this stream; resume with Last-Event-ID\r\n\r\n"


def encoded(row: Row, name: str) -> bytes:
    """One line as a server-sent event."""
    data = orjson.dumps(shown.journal_line(row), option=orjson.OPT_UTC_Z)
    return b"id: %b\r\nevent: journal\r\ndata: %b\r\n\r\n" % (name.encode(), data)


def by_place(row: Row) -> str:
    return f"{row['txid']}:{row['account_id']}:{row['seq']}"


def by_seq(row: Row) -> str:
    return f"{row['account_id']}:{row['seq']}"


class Seat:
    """Where one stream gets its lines from; ``account`` is None for lines of all accounts, ``key`` who listens."""

    def __init__(self, account: str | None, key: str) -> None:
        self.account = account
        self.key = key
        self.open = False
        self.dropped = False
        self._chunks: list[tuple[int, bytes]] = []
        self._lines = 0
        self._filled = asyncio.Event()

    def put(self, seq: int, chunk: bytes, lines: int) -> None:
        """Hand over lines, the last of which is ``seq`` of its account; too many that nobody took drop the seat."""
        if self._lines + lines > WAITING_LINES_MAX:
            self.drop()
        if self.open and not self.dropped:
            self._chunks.append((seq, chunk))
            self._lines += lines
            self._filled.set()

    def drop(self) -> None:
        self.dropped = True
        self._chunks = []
        self._filled.set()

    async def take(self) -> list[tuple[int, bytes]]:
        """What waits, once something does; empty when the seat was dropped."""
        await self._filled.wait()
        self._filled.clear()
        taken, self._chunks, self._lines = self._chunks, [], 0
        return taken


class Tail:
    """Reads the journal for all seats of this process, up to ``place``."""

    def __init__(self, services: Services, doorkeeper: Doorkeeper) -> None:
        self._services = services
        self._doorkeeper = doorkeeper
        self._seats: set[Seat] = set()
        self._task: asyncio.Task[None] | None = None
        self._bell = loops.Bell()
        self._starting = asyncio.Lock()
        self._polled = asyncio.Condition()
        self._horizon = Horizon()
        self._place = Place(0, "", 0)

    @property
    def open_seats(self) -> int:
        """Streams that get what is written from now on."""
        return sum(seat.open for seat in self._seats)

    @contextlib.asynccontextmanager
    async def seat(self, account: str | None, key: str, *, after_txid: int = 0) -> AsyncIterator[tuple[Seat, Place]]:
        """A seat that gets every line behind the place given with it, which is behind transaction ``after_txid``."""
        taken = Seat(account, key)
        try:
            async with self._starting:
                self._seats.add(taken)
                metrics.streams(len(self._seats))
                if self._task is None:
                    async with reading(self._services) as conn:
                        self._place = Place(await feed.horizon(conn), "", 0)
                    self._task = asyncio.create_task(self._run())
            async with self._polled:
                await self._polled.wait_for(lambda: self._place.txid > after_txid or taken.dropped)
                taken.open = True
                place = self._place
            yield taken, place
        finally:
            self._seats.discard(taken)
            metrics.streams(len(self._seats))
            if not self._seats and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _run(self) -> None:
        connect = functools.partial(db.connect, self._services.dsn, name="tail")
        beside = [
            asyncio.create_task(loops.listen(connect, self._bell.ring, channel=feed.CHANNEL)),
            asyncio.create_task(loops.loop("tail.keys", self._check_keys, loops.Bell(), idle_s=CHECK_KEYS_EVERY_S)),
        ]
        try:
            await loops.loop("tail", self._poll, self._bell, idle_s=LOOK_EVERY_S)
        finally:
            for task in beside:
                task.cancel()

    async def _poll(self) -> bool:
        async with reading(self._services) as conn:
            below = await self._horizon.below(conn)
            rows = await feed.lines(conn, self._place, below=below, limit=LINES_MAX)
            full = len(rows) == LINES_MAX
            held_up_s = None if full else await self._horizon.held_up_s(conn, below)
        self._hand_out(rows)
        self._place = feed.place(rows[-1]) if full else Place(max(below, self._place.txid), "", 0)
        async with self._polled:
            self._polled.notify_all()
        metrics.stream_lag(held_up_s or 0.0)
        if held_up_s is not None:
            await asyncio.sleep(LOOK_AGAIN_S if held_up_s < HELD_UP_S else LOOK_EVERY_S)
        return full or held_up_s is not None

    def _hand_out(self, rows: Sequence[Row]) -> None:
        everything = [seat for seat in self._seats if seat.account is None]
        if everything and rows:
            chunk = b"".join(encoded(row, by_place(row)) for row in rows)
            for seat in everything:
                seat.put(0, chunk, len(rows))
        own: dict[str, list[Seat]] = {}
        for seat in self._seats:
            if seat.account is not None:
                own.setdefault(seat.account, []).append(seat)
        for row in rows if own else ():
            line = encoded(row, by_seq(row)) if row["account_id"] in own else b""
            for seat in own.get(row["account_id"], ()):
                seat.put(row["seq"], line, 1)

    async def _check_keys(self) -> bool:
        """End the streams of keys that were revoked or have expired."""
        for key in {seat.key for seat in self._seats}:
            if await self._doorkeeper.who(self._services, key) is None:
                for seat in [seat for seat in self._seats if seat.key == key]:
                    seat.drop()
        return False

    async def everything(self, key: str, after: Place | None) -> AsyncIterator[bytes]:
        """Lines of all accounts behind ``after``, or from now on; ends when the reader is too slow.

        From now on: the first thing said is the id of that place, an event without data, which a client keeps and shows
        to nobody. So a connection that breaks before the first line is resumed without a gap, too.
        """
        if after is not None:
            async for place, chunk in self._behind(after, None):
                after = place
                yield chunk
        async with self.seat(None, key, after_txid=after.txid if after else 0) as (seat, start):
            if after is None:
                yield b"id: %d::0\r\n\r\n" % start.txid
            else:
                async for _, chunk in self._behind(after, start):
                    yield chunk
            while chunks := await seat.take():
                yield b"".join(chunk for _, chunk in chunks)
            yield SPENT

    async def _behind(self, after: Place, upto: Place | None) -> AsyncIterator[tuple[Place, bytes]]:
        """What can be read now, or ``upto`` a place that was read up to, page by page with the place of its last line."""
        while True:
            async with reading(self._services) as conn:
                below = upto.txid + 1 if upto else await self._horizon.below(conn)
                rows = await feed.lines(conn, after, below=below, limit=LINES_MAX, upto=upto)
            if rows:
                after = feed.place(rows[-1])
                yield after, b"".join(encoded(row, by_place(row)) for row in rows)
            if len(rows) < LINES_MAX:
                return

    async def of_account(self, key: str, account: str, after: int) -> AsyncIterator[bytes]:
        """Lines of one account behind the line ``after``; ends when the reader is too slow."""
        async for seq, chunk in self._written(account, after):
            after = seq
            yield chunk
        async with self.seat(account, key) as (seat, _):
            async for seq, chunk in self._written(account, after):
                after = seq
                yield chunk
            while chunks := await seat.take():
                fresh = [(seq, chunk) for seq, chunk in chunks if seq > after]
                if fresh:
                    after = fresh[-1][0]
                    yield b"".join(chunk for _, chunk in fresh)
            yield SPENT

    async def _written(self, account: str, after: int) -> AsyncIterator[tuple[int, bytes]]:
        """What stands in the journal now, page by page, with the last sequence number of each page."""
        while True:
            async with reading(self._services) as conn:
                rows = await views.journal(conn, account, limit=LINES_MAX, after=[after])
            if rows:
                after = rows[-1]["seq"]
                yield after, b"".join(encoded(row, by_seq(row)) for row in rows)
            if len(rows) < LINES_MAX:
                return
