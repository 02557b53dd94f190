"""Bulk replays: jobs that any worker carries on, in key order, no faster than their rate.

Progress and cursor are written after every chunk, so a job goes on after a restart where it was; a chunk that a crash
cut off is done again, which changes nothing. A job stops itself after ``FAILURES_MAX`` failures in a row.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import structlog

from app.errors import BadInput, CardrailError, Conflict, NotFound
from app.ops import rebuild, replay
from app.ops.parts import Actor, Parts
from app.store import audit, replays

LOG = structlog.get_logger()

CHUNK_MAX = 200
RATE_MAX = 10_000
FAILURES_MAX = 20


class _Chunk(msgspec.Struct):
    """How far a chunk has come."""

    account: str
    event: str
    row: int
    last_error: str | None
    checked: str = ""
    equal: bool = True
    done: int = 0
    failed: int = 0

    def note(self, error: str | None) -> None:
        self.done += 1
        self.row = self.row + 1 if error else 0
        if error:
            self.failed += 1
            self.last_error = error


async def start(
    conn: asyncpg.Connection, asked: Mapping[str, Any], *, mode: str, rate: int, dry_run: bool, actor: Actor
) -> dict[str, Any]:
    """Make a job (``planned`` when dry, else ``running``) and note who did. Commits nothing."""
    given: dict[str, Any] = {}
    for name in replays.FILTERS:
        value = asked.get(name)
        if value is not None:
            given[name] = value.isoformat() if isinstance(value, datetime) else str(value)
    if not given:
        raise BadInput("A bulk replay needs a filter.", code="empty_filter")
    if mode not in replay.MODES or not 0 < rate <= RATE_MAX:
        raise BadInput("mode is state, resume or force; rate is 1 to 10000 events a second.", code="bad_replay")
    counts = await replays.count(conn, given)
    total, made = sum(counts.values()), f"rpl_{uuid4().hex[:20]}"
    state = "planned" if dry_run else "running"
    await replays.create(
        conn,
        replay_id=made,
        state=state,
        mode=mode,
        asked=given,
        rate=rate,
        reason=actor.reason,
        by=actor.who,
        total=total,
    )
    return {"id": made, "state": state, "href": f"/v1/replays/{made}", "total": total, "by_status": counts}


async def stop(conn: asyncpg.Connection, replay_id: str) -> dict[str, Any]:
    """Stop a job. Raises NotFound, or Conflict when it is over. Commits nothing."""
    row = await replays.find(conn, replay_id)
    if row is None:
        raise NotFound(f"There is no replay {replay_id}.")
    if not await replays.stop(conn, replay_id):
        raise Conflict(f"{replay_id} is {row['state']}.", code=f"replay_{row['state']}")
    return {"id": replay_id, "state": "stopped", "href": f"/v1/replays/{replay_id}"}


class Replayer:
    """Carries on bulk replays; any number of processes may."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def poll(self) -> bool:
        """Do one chunk of one job that is due. True when there was one."""
        async with self._parts.pool.acquire() as lock:
            for job in await replays.running(lock):
                if float((job["cursor"] or {}).get("due_ms", 0)) > self._parts.clock():
                    continue
                async with lock.transaction():
                    if await replays.try_lock(lock, job["id"]):
                        current = [j for j in await replays.running(lock) if j["id"] == job["id"]]
                        if current:
                            await self._chunk(lock, current[0])
                            return True
        return False

    async def _chunk(self, lock: asyncpg.Connection, job: replays.Row) -> None:
        cursor = job["cursor"] or {}
        rate, begun = int(job["rate"]), self._parts.clock()
        at = _Chunk(cursor.get("account", ""), cursor.get("event", ""), int(cursor.get("row", 0)), cursor.get("error"))
        at.checked, at.equal = cursor.get("checked", ""), bool(cursor.get("equal", True))
        rows = await replays.events(
            lock, job["filter"], before=job["created_at"], after=[at.account, at.event], limit=min(rate, CHUNK_MAX)
        )
        for row in rows:
            passed = _passed_over(row["status"], job["mode"], job["filter"].get("status"))
            at.note(None if passed else await self._one(at, row, job["mode"]))
            at.account, at.event = row["account_id"], row["event_id"]
            if at.row >= FAILURES_MAX:
                break
        state = "failed" if at.row >= FAILURES_MAX else ("finished" if not rows else "running")
        kept = {
            "account": at.account,
            "event": at.event,
            "row": at.row,
            "error": at.last_error,
            "checked": at.checked,
            "equal": at.equal,
            "due_ms": begun + 1000 * len(rows) / rate,
        }
        await replays.advance(lock, job["id"], done=at.done, failed=at.failed, cursor=kept, state=state)
        if state != "running":
            total = {"done": job["done"] + at.done, "failed": job["failed"] + at.failed, "last_error": at.last_error}
            await audit.note(
                lock, who=job["by"], action=f"replays.{state}", target=job["id"], reason=job["reason"], result=total
            )
            LOG.info("replay.ended", replay=job["id"], state=state, **total)

    async def _one(self, at: _Chunk, row: replays.Row, mode: str) -> str | None:
        """Replay one event; the sentence of what went wrong. An account is rebuilt once for all its applied events."""
        account = row["account_id"]
        try:
            if mode == "state" and row["status"] == "applied":
                if at.checked != account:
                    at.equal = (await rebuild.check(self._parts, account)).equal
                    at.checked = account
                return None if at.equal else f"{account} differs from its log"
            async with self._parts.pool.acquire() as conn:
                await replay.again(conn, self._parts, row, mode)
        except CardrailError as error:
            return f"{row['event_id']}: {error.message}"
        except Exception as error:
            LOG.exception("replay.failed", event_id=row["event_id"], account=account)
            return f"{row['event_id']}: {type(error).__name__}"
        return None


def _passed_over(status: str, mode: str, asked: str | None) -> bool:
    """An ignored event is only replayed by a filter that says so; an applied one needs no ``resume``."""
    return (status == "ignored" and asked != "ignored") or (status == "applied" and mode == "resume")
