"""Who did what, and why: one row per operation of a person or an internal service."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import msgspec

Row = Mapping[str, Any]


async def note(
    conn: asyncpg.Connection,
    *,
    who: str,
    action: str,
    target: str,
    reason: str | None = None,
    result: Mapping[str, object] | None = None,
) -> None:
    await conn.execute(
        "INSERT INTO operator_actions (who, action, target, reason, result) VALUES ($1, $2, $3, $4, $5::text::jsonb)",
        who,
        action,
        target,
        reason,
        msgspec.json.encode(dict(result or {})).decode(),
    )


async def newest(conn: asyncpg.Connection, *, limit: int = 50, after: Sequence[Any] | None = None) -> list[Row]:
    return list(
        await conn.fetch(
            "SELECT id, at, who, action, target, reason, result FROM operator_actions"
            " WHERE $1::bigint IS NULL OR id < $1 ORDER BY id DESC LIMIT $2",
            after[0] if after else None,
            limit,
        )
    )
