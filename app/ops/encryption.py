"""encryption: which keys protect personal data, a new data key, and old rows sealed anew with it.

Rotation has two depths. New wrapping keys (the setting) rewrap the data keys: a handful of rows. A new data key seals
what is written from now on; ``rewrite`` brings older rows under it, a chunk at a time, beside the running service.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from app.ops.parts import Actor, Parts
from app.sealing import DEVELOPMENT
from app.store import audit, data_keys, sealed

CHUNK_MAX = 500


async def status(parts: Parts) -> dict[str, Any]:
    """Every data key with what it is wrapped by and how many values it seals; ``plain`` values are sealed by none."""
    async with parts.pool.acquire() as conn:
        known = await data_keys.every(conn)
        counts = {table.table: await sealed.counts(conn, table) for table in sealed.ALL}
        first = sealed.keys_of(conn).first.name
    rows = [
        {**row, "newest": row is known[-1], "values": sum(count.get(row["id"], 0) for count in counts.values())}
        for row in known
    ]
    plain = sum(count.get(sealed.PLAIN, 0) for count in counts.values())
    return {"first": first, "known_to_all": first == DEVELOPMENT, "plain": plain, "data_keys": rows}


async def rotate(parts: Parts, actor: Actor) -> dict[str, Any]:
    """Make a new data key, and wrap all others with the first key of the setting."""
    async with parts.pool.acquire() as conn:
        keys = sealed.keys_of(conn)
        async with conn.transaction():
            await data_keys.lock(conn)
            made = await data_keys.create(conn, keys)
            rewrapped = await data_keys.rewrap(conn, keys)
            result = {"data_key": made, "rewrapped": rewrapped, "wrapped_by": keys.first.name}
            await audit.note(
                conn, who=actor.who, action="encryption.rotate", target=str(made), reason=actor.reason, result=result
            )
        await data_keys.load(conn, keys)
    return result


async def rewrite(
    parts: Parts, actor: Actor, progress: Callable[[int, int], None] = lambda _d, _t: None
) -> dict[str, Any]:
    """Seal every value anew that is plain or under an older data key. May be stopped and started again at any time."""
    done: dict[str, int] = {}
    async with parts.pool.acquire() as conn:
        await data_keys.load(conn, sealed.keys_of(conn))
        total = sum([await sealed.count_old(conn, table) for table in sealed.ALL])
    for table in sealed.ALL:
        done[table.table], after = 0, ("", "")
        while True:
            async with parts.pool.acquire() as conn, conn.transaction():
                last, changed = await sealed.rewrite(conn, table, after=after, limit=CHUNK_MAX)
            done[table.table] += changed
            progress(sum(done.values()), total)
            if last is None:
                break
            after = last
            await asyncio.sleep(0)
    async with parts.pool.acquire() as conn:
        await audit.note(
            conn, who=actor.who, action="encryption.rewrite", target="all", reason=actor.reason, result=done
        )
    return {"rewritten": done}
