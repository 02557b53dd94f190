"""retention: bodies of old events go, a small chunk at a time; much later the rows of those that moved no money.

Nothing that a rebuild needs is lost: before the body of an applied event goes, a checkpoint of its account stands behind
it. The row stays for at least 400 days, so a duplicate is still known; rows of money, of requests and of our own commands
stay for ever.
"""

import asyncio
from typing import Any

import structlog

from app.ops import checkpoint
from app.ops.parts import Actor, Parts
from app.store import audit, notices, retention, subscriptions

LOG = structlog.get_logger()

NOTICE_DAYS = 30
CHUNK_MAX = 200
PAUSE_S = 0.2
"""Between two chunks, so that receiving and applying hardly notice."""
EVERY_MS = 3_600_000


async def drop(parts: Parts, actor: Actor, *, yes: bool, pause_s: float = 0.0) -> dict[str, Any]:
    """Drop what is old enough, chunk by chunk; without ``yes`` only count what would be looked at."""
    settings, dropped, deleted, kept = parts.settings, 0, 0, 0
    if not yes:
        async with parts.pool.acquire() as conn:
            waiting = {
                "bodies": await retention.count(conn, retention.BODIES, settings.payload_days),
                "rows": await retention.count(conn, retention.ROWS, settings.row_days),
            }
        return {"found": waiting, "dry_run": True}
    while True:
        looked, gone = await _chunk(parts, retention.BODIES, settings.payload_days)
        dropped, kept = dropped + gone, kept + looked - gone
        old, removed = await _chunk(parts, retention.ROWS, settings.row_days)
        deleted += removed
        if not looked and not old:
            break
        await asyncio.sleep(pause_s)
    result = {"bodies_dropped": dropped, "rows_deleted": deleted, "kept": kept, "dry_run": False}
    if dropped or deleted:
        async with parts.pool.acquire() as conn:
            await audit.note(
                conn, who=actor.who, action="retention", target="events", reason=actor.reason, result=result
            )
    return result


async def _chunk(parts: Parts, name: str, days: int) -> tuple[int, int]:
    """One chunk of a pass: how many were looked at, how many went. Nothing when another process is at it."""
    async with parts.pool.acquire() as lock, lock.transaction():
        if not await retention.try_lock(lock):
            return 0, 0
        rows = await retention.chunk(lock, name, days, CHUNK_MAX)
        if not rows:
            return 0, 0
        await _covered(parts, rows)
        gone = await retention.drop_bodies(lock, rows)
        if name == retention.ROWS:
            gone = await retention.delete_rows(lock, rows)
        await retention.passed(lock, name, max(row["received_at"] for row in rows))
    return len(rows), gone


async def _covered(parts: Parts, rows: list[retention.Row]) -> None:
    """Let checkpoints stand behind all applied events of a chunk."""
    through: dict[str, int] = {}
    for row in rows:
        if row["status"] == "applied" and row["applied_seq"] is not None:
            through[row["account_id"]] = max(through.get(row["account_id"], 0), row["applied_seq"])
    for account, seq in through.items():
        if not await checkpoint.advance(parts, account, seq):
            LOG.warning("retention.log_unreadable", account=account)


async def drop_notices(parts: Parts, *, days: int = NOTICE_DAYS) -> int:
    """Drop notices that were delivered or given up long ago, chunk by chunk; how many there were."""
    dropped, after = 0, ""
    while True:
        async with parts.pool.acquire() as conn:
            targets = await subscriptions.every(conn, limit=CHUNK_MAX, after=after)
        for target in targets:
            done = CHUNK_MAX
            while done == CHUNK_MAX:
                async with parts.pool.acquire() as conn:
                    done = await notices.drop_old(conn, target["id"], days=days, limit=CHUNK_MAX)
                dropped += done
        if len(targets) < CHUNK_MAX:
            return dropped
        after = targets[-1]["id"]


class Keeper:
    """Runs retention once an hour; schedule ``poll``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._next_ms = 0

    async def poll(self) -> bool:
        """Drop what is old enough when it is time."""
        now_ms = self._parts.clock()
        if now_ms >= self._next_ms:
            self._next_ms = now_ms + EVERY_MS
            await drop(self._parts, Actor(who="retention", reason="scheduled"), yes=True, pause_s=PAUSE_S)
            await drop_notices(self._parts)
        return False
