"""Bulk replay jobs."""

from collections.abc import Mapping
from typing import Any

import asyncpg

Row = Mapping[str, Any]

_JOB = "SELECT id, state, mode, filter, rate, reason, by, total, done, failed, created_at, updated_at FROM replays"


async def newest(conn: asyncpg.Connection, *, limit: int = 50) -> list[Row]:
    return list(await conn.fetch(f"{_JOB} ORDER BY created_at DESC, id LIMIT $1", limit))


async def find(conn: asyncpg.Connection, replay_id: str) -> Row | None:
    row: Row | None = await conn.fetchrow(f"{_JOB} WHERE id = $1", replay_id)
    return row
