"""Background duties: one loop each for apply and deliver, woken by a signal and, as the net below it, by the clock.

A loop never dies of one failure: it says what happened, waits a little longer each time, and goes on. Work that is due
is found again by itself, so a crash between two polls loses nothing.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine

import asyncpg
import structlog

from app.store import db

LOG = structlog.get_logger()

CHANNEL = "cardrail_events"
FAILED_WAIT_MAX_S = 5.0
SILENT_MAX_S = 10.0
"""A server that does not answer the listener for so long is given up."""
_TROUBLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)


class Bell:
    """Wakes a loop of this process. Ringing twice before it wakes is ringing once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        self._event.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when rung, or after ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()


class Places:
    """Work that a loop starts and does not wait for, so much at once at most: what is slow keeps its own place only.

    ``done`` is called whenever a place has become free. A failure is raised to whoever asks for a place next.
    """

    def __init__(self, places: int, done: Callable[[], None] = lambda: None) -> None:
        self._places = places
        self._done = done
        self._taken: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    async def free(self, within_s: float | None = None) -> int:
        """How many places are free, once one is, or ``within_s`` have passed."""
        if len(self._taken) >= self._places:
            await asyncio.wait(self._taken, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        self._raise()
        return max(0, self._places - len(self._taken))

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Let it go on in a place of its own."""
        task = asyncio.create_task(work)
        self._taken.add(task)
        task.add_done_callback(self._ended)

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._taken:
            await asyncio.wait(self._taken)
        self._raise()

    async def close(self, grace_s: float) -> None:
        """Let what is under way end for so long, then cut it off: its lease ends by itself, and it is done again."""
        if self._taken:
            await asyncio.wait(self._taken, timeout=grace_s)
        for task in self._taken:
            task.cancel()
        await asyncio.gather(*self._taken, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._taken.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
        self._done()

    def _raise(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


async def loop(
    role: str, poll: Callable[[], Awaitable[bool]], bell: Bell, *, idle_s: float, every_s: float = 0.0
) -> None:
    """Run ``poll`` for ever: at once again while it finds work, else when the bell rings or ``idle_s`` have passed.

    It begins no sooner than ``every_s`` after it last began: what trickles in is then taken up together.
    """
    failures, due = 0, 0.0
    while True:
        try:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due = time.monotonic() + every_s
            more = await poll()
            failures = 0
        except asyncio.CancelledError:
            raise
        except _TROUBLE as error:
            failures += 1
            LOG.warning("loop.database", role=role, error=type(error).__name__, failures=failures)
            await asyncio.sleep(min(FAILED_WAIT_MAX_S, 0.1 * 2 ** min(failures, 6)))
            continue
        except Exception:
            failures += 1
            LOG.exception("loop.defect", role=role)
            await asyncio.sleep(min(FAILED_WAIT_MAX_S, 0.1 * 2 ** min(failures, 6)))
            continue
        if not more:
            await bell.wait(idle_s)


async def listen(
    dsn_connect: Callable[[], Awaitable[asyncpg.Connection]],
    ring: Callable[[], None],
    *,
    channel: str = CHANNEL,
    lost: Callable[[], None] = lambda: None,
) -> None:
    """Ring when another process says there is work. A lost connection is made again; polling covers the gap.

    ``lost`` is called when the connection was lost, its server hangs, or it became one that only reads.
    """
    while True:
        try:
            conn = await dsn_connect()
            try:
                await conn.add_listener(channel, lambda *_: ring())
                await _well(conn)
                lost()
            finally:
                with contextlib.suppress(*_TROUBLE):
                    await conn.close(timeout=1)
        except _TROUBLE:
            pass
        except Exception:
            LOG.exception("listen.defect", channel=channel)
        await asyncio.sleep(1.0)


async def _well(conn: asyncpg.Connection) -> None:
    """Return once nothing more is to be heard from this server, or it only reads where it did write."""
    before = db.reads_only(conn)
    with contextlib.suppress(*_TROUBLE):
        while not conn.is_closed() and db.reads_only(conn) == before:
            await asyncio.sleep(1.0)
            await conn.execute("SELECT 1", timeout=SILENT_MAX_S)
