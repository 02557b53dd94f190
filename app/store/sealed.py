"""Columns that may hold personal data: sealed on the way in, opened on the way out, by the keys of the connection.

Which columns those are is declared here, once. A row's key columns are part of what is sealed, so that a value opens
only in the row and column that it was written for.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from app.sealing import Keys, UnknownDataKey, Unsealable
from app.store import data_keys
from app.store.db import Connection

Row = Mapping[str, Any]


class Sealed(NamedTuple):
    """The sealed columns of a table: those that are bytes to us, and those that are JSON."""

    table: str
    key: tuple[str, str]
    raw: tuple[str, ...] = ()
    json: tuple[str, ...] = ()


EVENTS = Sealed("events", ("account_id", "event_id"), raw=("payload",), json=("fetched",))
OUTBOX = Sealed("outbox", ("account_id", "command_id"), json=("params",))
IDEMPOTENCY = Sealed("idempotency", ("key_id", "key"), raw=("body",))
ALL = (EVENTS, OUTBOX, IDEMPOTENCY)


def keys_of(conn: Connection) -> Keys:
    """The keys that this connection was opened with."""
    keys: Keys | None = conn.keys
    if keys is None:
        raise Unsealable("This connection was opened without keys.")
    return keys


def seal(conn: Connection, table: Sealed, column: str, first: str, second: str, plain: bytes) -> bytes:
    """One value for the row whose key is ``first``, ``second``."""
    return keys_of(conn).seal(plain, table.table, column, first, second)


def seal_all(conn: Connection, table: Sealed, column: str, rows: Iterable[tuple[str, str, bytes]]) -> list[bytes]:
    """Many values of one column, each with the key of its row."""
    sealer, name = keys_of(conn).seal, table.table
    return [sealer(plain, name, column, first, second) for first, second, plain in rows]


async def opened(conn: Connection, table: Sealed, rows: Sequence[Row], *, lenient: bool = False) -> list[Row]:
    """The rows with their sealed columns opened, JSON ones parsed. Each row holds the table's key columns.

    A value that does not open raises Unsealable; when ``lenient`` its row is given back with ``unsealable`` (why) and
    the value empty, for readers who must not let one row stop the others.
    """
    keys = keys_of(conn)
    try:
        return [_open(keys, table, row, lenient=False) for row in rows]
    except UnknownDataKey:
        await data_keys.load(conn, keys)
    except Unsealable:
        if not lenient:
            raise
    return [_open(keys, table, row, lenient=lenient) for row in rows]


async def opened_one(conn: Connection, table: Sealed, row: Row | None) -> Row | None:
    """:func:`opened` for one row, or none."""
    return None if row is None else (await opened(conn, table, [row]))[0]


def _open(keys: Keys, table: Sealed, row: Row, *, lenient: bool) -> Row:
    made = dict(row)
    first, second = (made[name] for name in table.key)
    for column in (*table.raw, *table.json):
        sealed = made.get(column)
        if sealed is None:
            continue
        try:
            plain = keys.open(sealed, table.table, column, first, second)
        except Unsealable as error:
            if not lenient:
                raise
            made[column], made["unsealable"] = (b"" if column in table.raw else None), error.message
        else:
            made[column] = plain if column in table.raw else orjson.loads(plain)
    return made
