"""The connections that receive stores through: those of its pool, one of which is kept for deliveries that come alone.

To take a connection from a pool and hand it back costs more than a small insert, and a statement that was prepared on it
is lost. Batches do it all the same: in the turns of the loop that it takes, who was just answered joins the next batch.
The rule it enforces: after anything but the data or a lock made a statement fail, its connection is thrown away, without
waiting for its server.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import orjson

from app.log import get_logger
from app.store import events
from app.store.db import Connection, Pool

LOG = get_logger(__name__)

# What the data itself is to blame for; all else is the database's trouble and may pass.
DATA_ERRORS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    UnicodeEncodeError,
    orjson.JSONEncodeError,
)
# After these the connection is as good as before.
_HARMLESS = (*DATA_ERRORS, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)


class Connections:
    """Connections of ``pool``, of which one is kept once it is asked for."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._kept: Connection | None = None
        self._single: events.Single | None = None

    @contextlib.asynccontextmanager
    async def one(self, *, keep: bool = False) -> AsyncIterator[Connection]:
        """A connection for the time of a ``with``; ``keep`` makes it the kept one when there is none."""
        connection = await self._pool.acquire()
        try:
            yield connection
        except _HARMLESS:
            await self._pool.release(connection)
            raise
        except BaseException:
            await self._throw_away(connection)
            raise
        if keep and self._kept is None:
            self._kept = connection
        else:
            await self._pool.release(connection)

    async def insert(self, row: events.NewEvent, loop: asyncio.AbstractEventLoop, *, until: float) -> bool:
        """Store a new event over the kept connection, which is cut off when the loop's clock shows ``until``.

        False says little: the event is known, there is no such connection, or it failed. The usual way finds out.
        """
        kept = self._kept
        if kept is None:
            return False
        cut = loop.call_at(until, kept.terminate)
        try:
            if self._single is None:
                self._single = await events.Single.prepare(kept)
            return await self._single.insert(row)
        except Exception as error:  # noqa: BLE001  # whatever it is, the usual way meets it again and tells it apart
            LOG.debug("receive.kept_connection_failed", error=repr(error))
            await self._drop(kept)
            return False
        except BaseException:
            await self._drop(kept)
            raise
        finally:
            cut.cancel()

    async def expire(self) -> None:
        """Those from before are not trusted any more."""
        await self._pool.expire_connections()
        if self._kept is not None:
            await self._drop(self._kept)

    async def keep_none(self) -> None:
        """Hand the kept one back to its pool."""
        kept, self._kept, self._single = self._kept, None, None
        if kept is not None:
            await self._pool.release(kept)

    async def _drop(self, kept: Connection) -> None:
        if kept is self._kept:  # and nobody else dropped it meanwhile
            self._kept = self._single = None
            await self._throw_away(kept)

    async def _throw_away(self, connection: Connection) -> None:
        with contextlib.suppress(asyncpg.InterfaceError):  # a lost one is back in its pool already
            connection.terminate()
        await self._pool.release(connection)
