"""What is wrong with the database, in words for whoever is on call: not reached, not let in, or takes no writes.

Nothing here tells a password: a place is named by host, port and database alone.
"""

import socket
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncpg

from app.store.db import Connection

ROOM_BYTES = 1_000_000
"""So much is written on trial, and taken back: less room than that is none."""

CANNOT_SERVE: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""What passes without a change of ours: no connection, a server that starts or stops, no room, no writes for now."""

_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (asyncpg.ReadOnlySQLTransactionError, "takes no writes now"),
    (asyncpg.DiskFullError, "has no room left on its disk"),
    (asyncpg.TooManyConnectionsError, "has no connection left (max_connections)"),
    (asyncpg.CannotConnectNowError, "is starting or stopping"),
    (asyncpg.InvalidPasswordError, "refuses the password"),
    (asyncpg.InvalidAuthorizationSpecificationError, "refuses the user"),
    (asyncpg.InvalidCatalogNameError, "has no such database"),
    (asyncpg.UndefinedTableError, "lacks a table: was it migrated? (cardrail migrate)"),
    (FileNotFoundError, "does not listen there"),
    (ConnectionRefusedError, "does not listen there"),
    (socket.gaierror, "has a host name that nobody knows"),
    (TimeoutError, "does not answer in time"),
)


def place(url: str | None) -> str:
    """Where a database is, without who asks and with which password: ``PostgreSQL (db1:5432, database cardrail)``."""
    if url is None:
        return "The embedded PostgreSQL"
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    host = query.get("host") or unquote(parts.netloc.rpartition("@")[2]) or "localhost"
    return f"PostgreSQL ({host}, database {parts.path.strip('/') or 'of the user'})"


def in_words(error: BaseException, url: str | None) -> str:
    """One sentence that names the place and what it does, with the error's own text behind it."""
    text = f": {error}" if str(error) else ""
    return f"{place(url)} {_words(error)}: {type(error).__name__}{text}"


def briefly(error: BaseException) -> str:
    """The same for those who need not know where it is."""
    return f"PostgreSQL {_words(error)} ({type(error).__name__})"


def _words(error: BaseException) -> str:
    return next((words for kind, words in _WORDS if isinstance(error, kind)), "cannot be used")


async def refusing(conn: Connection) -> str | None:
    """Why it takes no writes; None when it takes them. What is written on trial is taken back."""
    try:
        async with conn.transaction():
            await conn.execute(
                "CREATE TEMPORARY TABLE cardrail_room ON COMMIT DROP AS"
                " SELECT repeat(md5(n::text), 30) AS filling FROM generate_series(1, $1::int / 1000) AS n",
                ROOM_BYTES,
            )
    except asyncpg.ReadOnlySQLTransactionError:
        standby = await conn.fetchval("SELECT pg_is_in_recovery()")
        return "it is a standby" if standby else "it is set to read only (default_transaction_read_only)"
    except asyncpg.InsufficientPrivilegeError:
        return None  # no temporary tables for this user: nothing was tried
    except (asyncpg.InsufficientResourcesError, asyncpg.PostgresSystemError) as error:
        return str(error).partition("\n")[0]
    return None
