"""Connections: fixed-size asyncpg pools.

The rule it enforces: a pool never grows, and a released connection is handed on as it is (no reset query), so nothing
in this package may leave session state behind. JSON travels as bytes through orjson. A connection carries the keys
that sealed columns are read and written with.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeAlias
from weakref import WeakSet

import asyncpg
import orjson

from app.sealing import Keys
from app.store import hosts

Pool: TypeAlias = asyncpg.Pool
Connection: TypeAlias = asyncpg.Connection

CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 30.0
CLOSE_MAX_S = 5.0
_JSONB_VERSION = b"\x01"


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg brings no types
    """A connection that carries the keys with which ``store.sealed`` seals and opens columns, and where a pool made it to."""

    keys: Keys | None = None
    dsn: str | None = None


_pooled: "WeakSet[_Connection]" = WeakSet()


async def connect(
    dsn: str, *, name: str = "cardrail", timeout_s: float = CONNECT_TIMEOUT_S, keys: Keys | None = None
) -> Connection:
    """One connection of its own (LISTEN, migrations, the command line); the caller closes it."""
    connection: Connection = await hosts.connect(
        hosts.plain_dsn(dsn), timeout=timeout_s, server_settings=_settings(name), connection_class=_Connection
    )
    connection.keys = keys
    await _speak_json(connection)
    return connection


async def open_pool(
    dsn: str,
    *,
    size: int,
    name: str,
    settings: Mapping[str, str] | None = None,
    keys: Keys | None = None,
    hurried: bool = False,
) -> Pool:
    """Open a pool of exactly ``size`` connections that shows as ``name`` in pg_stat_activity.

    asyncpg's own floor (``min_size``) is not used: it reconnects in the background of a dead database, and says so at
    length; a lost connection is replaced when it is next wanted. ``settings`` are PostgreSQL settings of each session;
    ``keys`` are what its connections seal and open columns with. ``hurried`` says that its users end by themselves, within
    a second or two, what a silent server delays: ``cut_off`` leaves those alone, and no timer is kept for each statement.
    Raises what asyncpg raises when no host answers.
    """

    async def made_ready(connection: Any) -> None:
        connection.keys, connection.dsn = keys, dsn
        if not hurried:
            _pooled.add(connection)
        await _speak_json(connection)

    pool: Pool = await asyncpg.create_pool(
        hosts.plain_dsn(dsn),
        min_size=0,
        max_size=size,
        connect=hosts.connect,
        connection_class=_Connection,
        max_inactive_connection_lifetime=0,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=None if hurried else COMMAND_TIMEOUT_S,
        init=made_ready,
        reset=_leave_as_it_is,
        server_settings=_settings(name, settings),
    )
    try:
        opened = await asyncio.gather(*(pool.acquire() for _ in range(size)))
    except BaseException:
        pool.terminate()
        raise
    for connection in opened:
        await pool.release(connection)
    return pool


@contextlib.asynccontextmanager
async def borrow(pool: Pool, *, within_s: float) -> AsyncIterator[Connection]:
    """A connection for at most ``within_s``; it is cut off then, and what runs on it fails as a lost connection does.

    A server that hangs answers neither the statement nor the request to cancel it, so giving up politely, or rolling
    back, would wait as long again.
    """
    async with asyncio.timeout(within_s):
        connection = await pool.acquire()
    cut = asyncio.get_running_loop().call_later(within_s, connection.terminate)
    try:
        yield connection
    except asyncio.CancelledError:
        connection.terminate()
        raise
    finally:
        cut.cancel()
        await pool.release(connection)


async def takes_writes(connection: Connection) -> bool:
    """Whether a transaction may write: no on a standby, and where the server was set to read only."""
    return bool(await connection.fetchval("SELECT current_setting('transaction_read_only') = 'off'"))


def reads_only(connection: Connection) -> bool:
    """Whether the server takes no more writes, as it told beside its last answer (another may have been promoted)."""
    told = connection.get_settings()
    return "on" in {getattr(told, name, "off") for name in ("default_transaction_read_only", "in_hot_standby")}


def cut_off(dsn: str) -> None:
    """End every connection of this process's pools to this database: the server behind them is gone, hangs, or only reads.

    What runs on them fails at once as on a lost connection, and the next that are wanted are made anew.
    """
    for one in [one for one in _pooled if one.dsn == dsn]:
        one.terminate()


async def close(pool: Pool, *, within_s: float = CLOSE_MAX_S) -> None:
    """Close a pool; a server that hangs is not waited for longer than ``within_s``."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await pool.close()


def _settings(name: str, more: Mapping[str, str] | None = None) -> dict[str, str]:
    return {"application_name": name, "timezone": "UTC", **(more or {})}


async def _leave_as_it_is(_connection: Any) -> None:
    """Instead of asyncpg's reset query, which costs a round trip on every release."""


async def _speak_json(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=_to_jsonb, decoder=_from_jsonb, format="binary"
    )


def _to_jsonb(value: object) -> bytes:
    return _JSONB_VERSION + orjson.dumps(value)


def _from_jsonb(value: bytes) -> object:
    return orjson.loads(value[1:])
