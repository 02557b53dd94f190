"""Workers say that they live; readiness asks."""

from collections.abc import Mapping
from typing import Any

from app.store.db import Connection

Row = Mapping[str, Any]


LIVING_S = 10
"""A worker that has said nothing for so long does no work now, as far as the others can tell."""


async def beat(conn: Connection, worker: str) -> int:
    """Note that this worker lives, and forget those that have said nothing for a day; how many live."""
    await conn.execute(
        "INSERT INTO heartbeats (worker) VALUES ($1) ON CONFLICT (worker) DO UPDATE SET at = now()", worker
    )
    await conn.execute("DELETE FROM heartbeats WHERE at < now() - interval '1 day'")
    living = "SELECT count(*) FROM heartbeats WHERE at > now() - make_interval(secs => $1)"
    return int(await conn.fetchval(living, LIVING_S))


async def every(conn: Connection) -> list[Row]:
    """The workers heard of within a day and how many seconds ago, newest first."""
    return list(
        await conn.fetch(
            "SELECT worker, extract(epoch FROM now() - at)::float8 AS age_s FROM heartbeats ORDER BY at DESC LIMIT 200"
        )
    )


async def newest_age_s(conn: Connection) -> float | None:
    """Seconds since any worker was last heard of; None when none ever was."""
    age = await conn.fetchval("SELECT extract(epoch FROM now() - max(at))::float8 FROM heartbeats")
    return None if age is None else float(age)
