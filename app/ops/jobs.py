"""Bulk replays: jobs that any worker carries on, in key order, no faster than their rate.

Progress and cursor are written after every chunk, so a job goes on after a restart where it was; a chunk that a crash
cut off is done again, which changes nothing. A job stops itself after ``FAILURES_MAX`` failures in a row. A planned job
is looked through first (``forecast``); a forced one that would move more than the programme lets one person force stays
planned until another key confirms it.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import structlog

from app.errors import BadInput, CardrailError, Conflict, Forbidden, NotFound
from app.ops import forecast, rebuild, replay
from app.ops.forecast import Forecast
from app.ops.parts import Actor, Parts
from app.store import audit, rebuilds, replays

LOG = structlog.get_logger()

CHUNK_MAX = 200
CHECKED_MAX = 500
"""Events of a chunk in mode state: an account is folded once for all of its applied ones, so each costs little."""
RATE_MAX = 10_000
REST = 1.1
"""A job rests for this share of the time that its last chunk took, whatever its rate: those who are served come first."""
FAILURES_MAX = 20
FORESEEN_AT_ONCE_MAX = 1_000
WAIT_MAX_MS = 1_000
EARLY_MS = 2
"""Timers of the event loop may ring so much early; a job that is due by then is due."""
NOT_FAILED = ("event_applied", "not_replayable", "other_mode", "payload_dropped")
"""Codes of what a job passes over: nothing is wrong with such an event, it is just not for this mode."""


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
    conn: asyncpg.Connection,
    parts: Parts,
    asked: Mapping[str, Any],
    *,
    mode: str,
    rate: int,
    dry_run: bool,
    actor: Actor,
) -> dict[str, Any]:
    """Make a job and say what it would do, if that is said quickly; else a worker says it in ``forecast``.

    It is ``planned`` when dry, and when a forced replay still has to be looked through or confirmed; else ``running``.
    Commits nothing.
    """
    given = _given(asked)
    if mode not in replay.MODES or not 0 < rate <= RATE_MAX:
        raise BadInput(f"mode is state, resume or force; rate is 1 to {RATE_MAX} events a second.", code="bad_replay")
    counts = await replays.count(conn, given)
    total = sum(counts.values())
    foreseen: Forecast | None = None
    if (dry_run or mode == "force") and total <= FORESEEN_AT_ONCE_MAX:
        foreseen = await forecast.foresee(conn, parts, given, mode)
    state = _state(parts, mode, foreseen, dry_run=dry_run)
    made = await _create(conn, given, mode, rate, state, total, foreseen, dry_run=dry_run, actor=actor)
    waits = state == "planned" and not dry_run and foreseen is not None
    return {**made, "total": total, "by_status": counts, "needs_confirmation": waits}


def _given(asked: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name in replays.FILTERS:
        value = asked.get(name)
        if value is not None:
            given[name] = value.isoformat() if isinstance(value, datetime) else str(value)
    if not given or "" in given.values():
        raise BadInput("A bulk replay needs a filter, and each part of it a value.", code="empty_filter")
    return given


def _state(parts: Parts, mode: str, foreseen: Forecast | None, *, dry_run: bool) -> str:
    """Where a job stands once it is looked through as far as ``foreseen``."""
    if dry_run:
        return "planned"
    if mode == "force" and (foreseen is None or foreseen.amount > parts.programme.caps.force_unconfirmed):
        return "planned"
    return "running"


async def _create(
    conn: asyncpg.Connection,
    given: dict[str, Any],
    mode: str,
    rate: int,
    state: str,
    total: int,
    foreseen: Forecast | None,
    *,
    dry_run: bool,
    actor: Actor,
) -> dict[str, Any]:
    made, said = f"rpl_{uuid4().hex[:20]}", foreseen.report() if foreseen is not None else None
    await replays.create(
        conn,
        replay_id=made,
        state=state,
        mode=mode,
        asked=given,
        rate=rate,
        reason=actor.reason,
        by=actor.who,
        by_key=actor.key or actor.who,
        total=total,
        dry_run=dry_run,
        forecast=said,
    )
    return {"id": made, "state": state, "href": f"/v1/replays/{made}", "forecast": said}


async def replay_event(
    conn: asyncpg.Connection,
    parts: Parts,
    row: rebuilds.Row,
    mode: str,
    actor: Actor,
    *,
    checked: rebuild.Rebuilt | None = None,
) -> dict[str, Any]:
    """Replay one event: ``{id, state, href, plan}``. A forced one above the amount becomes a job that waits for a key.

    Raises Conflict. Commits nothing of its own but what mode state writes.
    """
    planned = await replay.plan(conn, parts, row, mode, checked=checked)
    event_id = row["event_id"]
    if mode == "force" and planned.amount > parts.programme.caps.force_unconfirmed:
        given = {"account": row["account_id"], "event": event_id, "status": row["status"]}
        foreseen = forecast.of_one(planned)
        made = await _create(conn, given, mode, 1, "planned", 1, foreseen, dry_run=False, actor=actor)
        return {**made, "needs_confirmation": True, "plan": planned.report()}
    state = await replay.again(conn, parts, row, mode)
    plan = {**planned.report(), "state": state}
    return {"id": event_id, "state": state, "href": f"/v1/events/{event_id}", "plan": plan}


async def confirm(conn: asyncpg.Connection, replay_id: str, actor: Actor) -> dict[str, Any]:
    """Let a forced replay run that another key asked for. Raises NotFound, Forbidden or Conflict. Commits nothing."""
    row = await replays.lock(conn, replay_id)
    if row is None:
        raise NotFound(f"There is no replay {replay_id}.")
    if row["state"] != "planned":
        raise Conflict(f"{replay_id} is {row['state']}.", code=f"replay_{row['state']}")
    if row["dry_run"]:
        raise Conflict(f"{replay_id} is a dry run: it is never run.", code="replay_dry_run")
    if not row["needs_confirmation"]:
        raise Conflict(f"{replay_id} is still being looked through.", code="forecast_pending")
    if actor.key in (row["by_key"], ""):
        raise Forbidden("Another key than the one that asked must confirm.", code="second_key_needed")
    await replays.confirm(conn, replay_id, by=actor.who, key=actor.key)
    return {"id": replay_id, "state": "running", "href": f"/v1/replays/{replay_id}"}


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
        """Look one planned job through, or do one chunk of one job that is due. True when there was one.

        A job that is due within a moment is waited for, so its rate does not depend on how often this is called.
        """
        async with self._parts.pool.acquire() as lock:
            if await self._foreseen(lock):
                return True
            soon = [self._due_in_ms(job) for job in await replays.running(lock)]
            if soon and EARLY_MS < min(soon) <= WAIT_MAX_MS:
                await asyncio.sleep(min(soon) / 1000)
            for job in await replays.running(lock):
                if self._due_in_ms(job) > EARLY_MS:
                    continue
                async with lock.transaction():
                    if await replays.try_lock(lock, job["id"]):
                        current = [j for j in await replays.running(lock) if j["id"] == job["id"]]
                        if current and self._due_in_ms(current[0]) <= EARLY_MS:
                            await self._chunk(lock, current[0])
                            return True
        return False

    def _due_in_ms(self, job: replays.Row) -> float:
        return float((job["cursor"] or {}).get("due_ms", 0)) - self._parts.clock()

    # -- looking through -----------------------------------------------------------------------------------------

    async def _foreseen(self, lock: asyncpg.Connection) -> bool:
        for job in await replays.unforeseen(lock):
            async with lock.transaction():
                if await replays.try_lock(lock, job["id"]) and job["id"] in {
                    j["id"] for j in await replays.unforeseen(lock)
                }:
                    await self._foresee(job)
                    return True
        return False

    async def _foresee(self, job: replays.Row) -> None:
        """Say what a job would do, on the state of one moment; how far that is, is seen meanwhile."""

        async def keep(found: Forecast) -> None:
            state = "planned" if not found.complete else _state(self._parts, job["mode"], found, dry_run=job["dry_run"])
            async with self._parts.pool.acquire() as other:
                await replays.foresee(other, job["id"], found.report(), state=state)

        async with self._parts.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            found = await forecast.foresee(conn, self._parts, job["filter"], job["mode"], job["created_at"], keep)
        await keep(found)

    # -- doing ---------------------------------------------------------------------------------------------------

    async def _chunk(self, lock: asyncpg.Connection, job: replays.Row) -> None:
        cursor = job["cursor"] or {}
        rate, begun, mode = int(job["rate"]), self._parts.clock(), job["mode"]
        at = _Chunk(cursor.get("account", ""), cursor.get("event", ""), int(cursor.get("row", 0)), cursor.get("error"))
        at.checked, at.equal = cursor.get("checked", ""), bool(cursor.get("equal", True))
        most = min(rate, CHECKED_MAX if mode == "state" else CHUNK_MAX)
        rows = await replays.events(
            lock, job["filter"], before=job["created_at"], after=[at.account, at.event], limit=most
        )
        for row in rows:
            left_alone = forecast.passed_over(row, mode, job["filter"].get("status"))
            at.note(None if left_alone else await self._one(at, row, job))
            at.account, at.event = row["account_id"], row["event_id"]
            if at.row >= FAILURES_MAX:
                break
        ended = self._parts.clock()
        state = "failed" if at.row >= FAILURES_MAX else ("finished" if not rows else "running")
        kept = {
            "account": at.account,
            "event": at.event,
            "row": at.row,
            "error": at.last_error,
            "checked": at.checked,
            "equal": at.equal,
            "due_ms": max(begun + 1000 * len(rows) / rate, ended + REST * (ended - begun)),
        }
        await replays.advance(lock, job["id"], done=at.done, failed=at.failed, cursor=kept, state=state)
        if state != "running":
            await self._ended(lock, job, at, state)

    async def _ended(self, conn: asyncpg.Connection, job: replays.Row, at: _Chunk, state: str) -> None:
        total = {"done": job["done"] + at.done, "failed": job["failed"] + at.failed, "last_error": at.last_error}
        await audit.note(
            conn, who=job["by"], action=f"replays.{state}", target=job["id"], reason=job["reason"], result=total
        )
        LOG.info("replay.ended", replay=job["id"], state=state, **total)

    async def _equal(self, account: str) -> bool:
        """Whether an account is what its log says. An authorization of an unknown account leaves an event and no account."""
        try:
            return (await rebuild.check(self._parts, account)).equal
        except NotFound:
            return True

    async def _one(self, at: _Chunk, row: replays.Row, job: replays.Row) -> str | None:
        """Replay one event; the sentence of what went wrong. An account is rebuilt once for all its applied events."""
        account, mode = row["account_id"], job["mode"]
        try:
            if mode == "state" and row["status"] == "applied":
                if at.checked != account:
                    at.equal = await self._equal(account)
                    at.checked = account
                return None if at.equal else f"{account} differs from its log"
            async with self._parts.pool.acquire() as conn:
                whole = await replay.found_event(conn, row["event_id"], account)
                await replay.again(conn, self._parts, whole, mode, job=job["id"])
        except CardrailError as error:
            if error.code in NOT_FAILED:
                return None
            named = row["event_id"] in error.message
            return error.message if named else f"{row['event_id']}: {error.message}"
        except Exception as error:
            LOG.exception("replay.failed", event_id=row["event_id"], account=account)
            return f"{row['event_id']}: {type(error).__name__}"
        return None
