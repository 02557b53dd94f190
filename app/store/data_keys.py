"""Data keys as they stand in the database: each wrapped, none ever changed but by being wrapped anew.

The rule it enforces: a data key is committed before anything is sealed with it, so whoever reads a sealed row finds its
key. Functions take a connection; those that write want a transaction.
"""

from collections.abc import Mapping
from typing import Any

from app.sealing import DEVELOPMENT, Keys, fresh_key
from app.store.db import Connection, Pool

Row = Mapping[str, Any]


async def load(source: Connection | Pool, keys: Keys) -> None:
    """Add the data keys that this process does not know yet. Raises ConfigError when one cannot be unwrapped."""
    rows = await source.fetch(
        "SELECT id, wrapped, wrapped_by FROM data_keys WHERE id <> ALL($1::int[]) ORDER BY id", list(keys.known)
    )
    for row in rows:
        keys.add(row["id"], keys.unwrap(row["id"], bytes(row["wrapped"]), row["wrapped_by"]))


async def begin(conn: Connection, keys: Keys) -> None:
    """Load the data keys; make the first one, and one that is no longer wrapped with the key that all know.

    Needs a transaction: starters at the same moment make one key, not several.
    """
    await load(conn, keys)
    if not await _wanted(conn, keys):
        return
    await lock(conn)
    await load(conn, keys)
    if await _wanted(conn, keys):
        await create(conn, keys)


async def _wanted(conn: Connection, keys: Keys) -> bool:
    """Whether the newest data key will not do: none yet, or open to all although the settings name a secret one."""
    by = await conn.fetchval("SELECT wrapped_by FROM data_keys ORDER BY id DESC LIMIT 1")
    return by is None or (by == DEVELOPMENT and keys.first.name != DEVELOPMENT)


async def lock(conn: Connection) -> None:
    """One at a time through the changes of data keys, until the transaction ends."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtext('cardrail data keys'))")


async def create(conn: Connection, keys: Keys) -> int:
    """Make the data key that seals from now on; its id. It is used only once its transaction is committed."""
    key_id = int(await conn.fetchval("SELECT coalesce(max(id), 0) + 1 FROM data_keys"))
    await conn.execute(
        "INSERT INTO data_keys (id, wrapped, wrapped_by) VALUES ($1, $2, $3)",
        key_id,
        keys.wrap(key_id, fresh_key()),
        keys.first.name,
    )
    return key_id


async def rewrap(conn: Connection, keys: Keys) -> int:
    """Wrap every data key with the first key-encryption key that is not yet; how many there were."""
    rows = await conn.fetch("SELECT id, wrapped, wrapped_by FROM data_keys WHERE wrapped_by <> $1", keys.first.name)
    for row in rows:
        key = keys.unwrap(row["id"], bytes(row["wrapped"]), row["wrapped_by"])
        await conn.execute(
            "UPDATE data_keys SET wrapped = $2, wrapped_by = $3 WHERE id = $1",
            row["id"],
            keys.wrap(row["id"], key),
            keys.first.name,
        )
    return len(rows)


async def every(conn: Connection) -> list[Row]:
    """The data keys, oldest first, without what is in them."""
    return list(await conn.fetch("SELECT id, wrapped_by, created_at FROM data_keys ORDER BY id"))
