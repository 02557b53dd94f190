"""Columns that may hold personal data or secrets: sealed on the way in, opened on the way out, by the keys of the connection.

Which columns those are is declared here, once. A row's key columns are part of what is sealed, so that a value opens
only in the row and column that it was written for.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from app.sealing import PLAIN_FROM, Keys, UnknownDataKey, Unsealable
from app.store import data_keys
from app.store.db import Connection

Row = Mapping[str, Any]


class Sealed(NamedTuple):
    """The sealed columns of a table: those that are bytes to us, and those that are JSON.

    A table whose key is one column names it twice.
    """

    table: str
    key: tuple[str, str]
    raw: tuple[str, ...] = ()
    json: tuple[str, ...] = ()


EVENTS = Sealed("events", ("account_id", "event_id"), raw=("payload",), json=("fetched",))
OUTBOX = Sealed("outbox", ("account_id", "command_id"), json=("params",))
IDEMPOTENCY = Sealed("idempotency", ("key_id", "key"), raw=("body",))
SUBSCRIPTIONS = Sealed("subscriptions", ("id", "id"), raw=("secret", "secret_before"))
ALL = (EVENTS, OUTBOX, IDEMPOTENCY, SUBSCRIPTIONS)


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


# Under which keys values stand, and standing under the newest

PLAIN = 0
"""Stands for "sealed by no key" among the ids of :func:`counts`."""


def _key_id(column: str) -> str:
    """The id of the data key that seals a column, in SQL."""
    return (
        f"CASE WHEN get_byte({column}, 0) >= {PLAIN_FROM} THEN {PLAIN}"
        f" ELSE ('x' || encode(substring({column} FROM 2 FOR 4), 'hex'))::bit(32)::int END"
    )


async def counts(conn: Connection, table: Sealed) -> dict[int, int]:
    """How many values of a table each data key seals. Reads the whole table."""
    found: dict[int, int] = {}
    for column in (*table.raw, *table.json):
        rows = await conn.fetch(
            f"SELECT {_key_id(column)} AS id, count(*) AS n FROM {table.table} WHERE {column} IS NOT NULL GROUP BY 1"  # noqa: S608 - names from the declarations above
        )
        for row in rows:
            found[row["id"]] = found.get(row["id"], 0) + row["n"]
    return found


def _old(table: Sealed) -> str:
    """Rows with a value that the data key ``$1`` does not seal."""
    return " OR ".join(f"({c} IS NOT NULL AND {_key_id(c)} <> $1)" for c in (*table.raw, *table.json))


async def count_old(conn: Connection, table: Sealed) -> int:
    """Rows that the newest data key does not seal throughout."""
    query = f"SELECT count(*) FROM {table.table} WHERE {_old(table)}"  # noqa: S608 - names from the declarations above
    return int(await conn.fetchval(query, max(keys_of(conn).known)))


async def rewrite(
    conn: Connection, table: Sealed, *, after: tuple[str, str], limit: int
) -> tuple[tuple[str, str] | None, int]:
    """Seal the next rows anew under the newest data key; needs a transaction.

    Returns the key of the last row seen (None: there were no more) and how many rows there were.
    """
    first, second = table.key
    columns = (*table.raw, *table.json)
    rows = await conn.fetch(
        f"SELECT {first}, {second}, {', '.join(columns)} FROM {table.table}"  # noqa: S608 - names from the declarations above
        f" WHERE ({first}, {second}) > ($2, $3) AND ({_old(table)}) ORDER BY {first}, {second} LIMIT $4"
        " FOR NO KEY UPDATE",
        max(keys_of(conn).known),
        *after,
        limit,
    )
    keys = keys_of(conn)
    for column in columns:
        held = [row for row in rows if row[column] is not None]
        anew = [
            keys.seal(
                keys.open(row[column], table.table, column, row[first], row[second]),
                *(table.table, column, row[first], row[second]),
            )
            for row in held
        ]
        await conn.execute(
            f"UPDATE {table.table} t SET {column} = n.value"  # noqa: S608 - names from the declarations above
            "  FROM unnest($1::text[], $2::text[], $3::bytea[]) AS n (first, second, value)"
            f" WHERE t.{first} = n.first AND t.{second} = n.second",
            [row[first] for row in held],
            [row[second] for row in held],
            anew,
        )
    return ((rows[-1][first], rows[-1][second]) if rows else None), len(rows)
