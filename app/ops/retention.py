"""retention: bodies of old events go, a small chunk at a time; much later the rows of those that moved no money.

Nothing that a rebuild needs is lost: before the body of an applied event goes, a checkpoint of its account stands behind
it. The row stays for at least 400 days, so a duplicate is still known; rows of money, of requests and of our own commands
stay for ever.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from app.config import Settings
from app.ops import checkpoint
from app.ops.parts import Actor, Parts
from app.store import audit, idempotency, notices, retention, subscriptions
from app.store.db import Connection

LOG = structlog.get_logger()

NOTICE_DAYS = 30
KEY_DAYS = 30
"""The API says so of `Idempotency-Key`; Stripe keeps those of v2 for as long."""
CHUNK_MAX = 200
PAUSE_S = 0.2
"""Between two chunks, so that receiving and applying hardly notice."""
EVERY_MS = 3_600_000
_PASSES = {"bodies": retention.BODIES, "rows": retention.ROWS}


async def status(conn: Connection, settings: Settings) -> dict[str, Any]:
    """What is due, and how far each pass is: ``{found: {bodies, rows}, days, through, checkpoints}``.

    ``found`` are events that a pass has yet to look at; those that may not go then stay.
    """
    days = {"bodies": settings.payload_days, "rows": settings.row_days}
    found = {what: await retention.count(conn, name, days[what]) for what, name in _PASSES.items()}
    through = {what: await retention.through(conn, name) for what, name in _PASSES.items()}
    return {"found": found, "days": days, "through": through, "checkpoints": await retention.checkpoints(conn)}


async def _due(parts: Parts) -> dict[str, int]:
    async with parts.pool.acquire() as conn:
        found: dict[str, int] = (await status(conn, parts.settings))["found"]
    return found


async def drop(
    parts: Parts,
    actor: Actor,
    *,
    yes: bool,
    pause_s: float = 0.0,
    chunks_max: int | None = None,
    by_itself: bool = False,
    progress: Callable[[int, int], None] = lambda _d, _t: None,
) -> dict[str, Any]:
    """Drop what is old enough, chunk by chunk; without ``yes`` only count what would be looked at.

    ``chunks_max`` ends it early; ``left`` says how many are still to be looked at. Run by itself it tells the audit only
    when something went.
    """
    settings, dropped, deleted, kept, chunks = parts.settings, 0, 0, 0, 0
    found = await _due(parts)
    if not yes:
        return {"found": found, "dry_run": True}
    while chunks_max is None or chunks < chunks_max:
        chunks += 1
        looked, gone = await _chunk(parts, retention.BODIES, settings.payload_days)
        dropped, kept = dropped + gone, kept + looked - gone
        old, removed = await _chunk(parts, retention.ROWS, settings.row_days)
        deleted += removed
        progress(dropped + kept + deleted, sum(found.values()))
        if not looked and not old:
            break
        await asyncio.sleep(pause_s)
    left = await _due(parts)
    result = {"bodies_dropped": dropped, "rows_deleted": deleted, "kept": kept, "left": left, "dry_run": False}
    if dropped or deleted or not by_itself:
        async with parts.pool.acquire() as conn:
            await audit.note(
                conn, who=actor.who, action="retention.run", target="events", reason=actor.reason, result=result
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


async def drop_keys(parts: Parts, *, days: int = KEY_DAYS) -> int:
    """Drop idempotency keys of API writes, with the answers kept under them, chunk by chunk; how many there were."""
    dropped, done = 0, CHUNK_MAX
    while done == CHUNK_MAX:
        async with parts.pool.acquire() as conn:
            done = await idempotency.drop_old(conn, days=days, limit=CHUNK_MAX)
        dropped += done
    return dropped


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
            await drop(
                self._parts, Actor(who="retention", reason="scheduled"), yes=True, pause_s=PAUSE_S, by_itself=True
            )
            await drop_notices(self._parts)
            await drop_keys(self._parts)
        return False
