"""Background duties: one loop each for apply and deliver, woken by a signal and, as the net below it, by the clock.

A loop never dies of one failure: it says what happened, waits a little longer each time, and goes on. Work that is due
is found again by itself, so a crash between two polls loses nothing.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

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


async def loop(role: str, poll: Callable[[], Awaitable[bool]], bell: Bell, *, idle_s: float) -> None:
    """Run ``poll`` for ever: at once again while it finds work, else when the bell rings or ``idle_s`` have passed."""
    failures = 0
    while True:
        try:
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
        await asyncio.sleep(1.0)


async def _well(conn: asyncpg.Connection) -> None:
    """Return once nothing more is to be heard from this server, or it only reads where it did write."""
    before = db.reads_only(conn)
    with contextlib.suppress(*_TROUBLE):
        while not conn.is_closed() and db.reads_only(conn) == before:
            await asyncio.sleep(1.0)
            await conn.execute("SELECT 1", timeout=SILENT_MAX_S)
