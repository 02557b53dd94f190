"""replay: what one event of the log would do now, and doing it.

``state`` folds again and lets no command leave: for an applied event the account is rebuilt and compared, for one that
had no effect yet the effect is written and its new commands are parked as ``suppressed_by_replay`` (``commands retry``
lets one go). ``resume`` gives such an event back to apply, so the next step may follow. ``force`` also takes applied
events: a copy is appended to the log. A command is named by account and intent alone, so none is ever made twice.
"""

import copy
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec

from app.errors import Conflict, NotFound
from app.flow.batch import Batch
from app.flow.work import Work, held, named, work_of
from app.machines.commands import command_id
from app.machines.events import Happening
from app.machines.lifecycle import Facts
from app.machines.registry import MACHINES
from app.machines.story import Story, Told, fold
from app.ops import rebuild
from app.ops.parts import Actor, Parts
from app.store import audit, rebuilds, states
from app.stripe import catalog, envelope, translate
from app.stripe.translate import Poisoned

MODES = ("state", "resume", "force")
SUPPRESSED = {
    "code": "suppressed_by_replay",
    "message": "A replay in mode state folded the event; `cardrail commands retry` lets this command leave.",
}
NEVER_FORCED = ("hold.", "account.repaired")
"""Events that say what a person decided at that moment: never repeated."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay does: ``leaving`` and ``suppressed`` are ``{id, kind, intent, status}``.

    ``state`` is ``planned``, or once done ``pending`` (apply takes it up), ``applied``, ``compared`` or ``appended``.
    """

    event: str
    account: str
    type: str
    status: str
    mode: str
    does: str
    state: str = "planned"
    transitions: list[dict[str, Any]] = []
    leaving: list[dict[str, Any]] = []
    suppressed: list[dict[str, Any]] = []
    held_back: list[dict[str, Any]] = []
    unreadable: str | None = None
    equal: bool | None = None
    differences: list[dict[str, Any]] = []

    def report(self) -> dict[str, Any]:
        """As plain data."""
        return {"id": self.event, **msgspec.to_builtins(self)}


async def found_event(conn: asyncpg.Connection, event_id: str, account_id: str | None = None) -> rebuilds.Row:
    """The event, or NotFound."""
    row = await rebuilds.event(conn, event_id, account_id)
    if row is None:
        raise NotFound(f"There is no event {event_id}.")
    return row


def must_allow(row: rebuilds.Row, mode: str, parts: Parts) -> None:
    """Raise Conflict when this mode cannot be had for this event."""
    event_id, status = row["event_id"], row["status"]
    if mode == "resume" and status == "applied":
        raise Conflict(f"{event_id} was applied: replay it in mode state or force.", code="event_applied")
    if status == "applied" and mode == "force" and str(row["type"]).startswith(NEVER_FORCED):
        raise Conflict(f"{row['type']} is a person's decision and is not repeated.", code="not_replayable")
    if status != "applied" and row["kind"] != "internal":
        read = envelope.read(bytes(row["payload"]), parts.platform_account)
        if isinstance(read, envelope.Envelope) and read.livemode not in (None, parts.settings.livemode):
            raise Conflict(f"{event_id} is of the other mode (livemode {read.livemode}).", code="other_mode")


async def plan(conn: asyncpg.Connection, parts: Parts, row: rebuilds.Row, mode: str) -> Plan:
    """What replaying the event would do, computed on the state as it is; nothing is written."""
    must_allow(row, mode, parts)
    account, applied = row["account_id"], row["status"] == "applied"
    base = {"event": row["event_id"], "account": account, "type": row["type"], "status": row["status"], "mode": mode}
    if mode == "state" and applied:
        found = (await rebuild.check(parts, account)).report()
        does = "folds the account's log again and compares; no command leaves"
        return Plan(**base, does=does, equal=found["equal"], differences=found["differences"])
    does = {
        "state": "writes the effect; new commands are parked as suppressed_by_replay",
        "resume": "gives the event back to apply; the next step may follow",
        "force": "appends a copy to the log" if applied else "gives the event back to apply",
    }[mode]
    one = work_of(row)
    happenings, unreadable = _understood(one)
    story = await _story(conn, parts, account, happenings)
    told = fold(story, happenings) if unreadable is None else Told()
    known = await rebuilds.commands_known(conn, account, [command_id(account, c.intent) for c in told.commands])
    new, done = _split(account, told, known)
    return Plan(
        **base,
        does=does,
        transitions=[_line(line) for line in told.lines],
        leaving=[] if mode == "state" else new,
        held_back=new if mode == "state" else [],
        suppressed=done,
        unreadable=unreadable,
    )


def _understood(one: Work) -> tuple[tuple[Happening, ...], str | None]:
    if one.stored.kind != "internal" and catalog.lookup(one.stored.type) is None:
        return (), f"{one.stored.type} is no type we know; it stays ignored"
    try:
        happenings = translate.happenings(one.stored)
    except Poisoned as error:
        return (), f"{error.code}: {error.message}"
    if one.stored.kind == "thin" and not one.stored.fetched:
        return (), "a thin event that was never read: apply reads its object at Stripe first"
    return happenings, None


async def _story(conn: asyncpg.Connection, parts: Parts, account: str, happenings: tuple[Happening, ...]) -> Story:
    row = (await states.load_accounts(conn, [account])).get(account)
    objects = await states.load_objects(conn, [(account, name) for name in named(happenings)])
    return Story(
        account_id=account,
        platform=account == parts.platform_account,
        facts=msgspec.convert(copy.deepcopy((row["facts"] if row else None) or {}), Facts),
        objects={r["object_id"]: held(r) for r in objects},
        machines=MACHINES,
        programme=parts.programme,
    )


def _split(account: str, told: Told, known: dict[str, str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    new: list[dict[str, Any]] = []
    done: list[dict[str, Any]] = []
    for command in told.commands:
        made = command_id(account, command.intent)
        row = {"id": made, "kind": command.kind, "intent": command.intent, "status": known.get(made)}
        (done if made in known else new).append(row)
    return new, done


def _line(line: Any) -> dict[str, Any]:
    return {
        "machine": line.machine,
        "object_id": line.object_id,
        "from": line.before,
        "to": line.after,
        "commands": list(line.commands),
        "note": line.note,
    }


async def replay(parts: Parts, event_id: str, mode: str, actor: Actor, account_id: str | None = None) -> Plan:
    """Replay one event and note who did it. Raises NotFound and Conflict."""
    async with parts.pool.acquire() as conn:
        row = await found_event(conn, event_id, account_id)
        done = await again(conn, parts, row, mode)
        result = {"mode": mode, "status": row["status"], "equal": done.equal}
        await audit.note(
            conn, who=actor.who, action="events.replay", target=event_id, reason=actor.reason, result=result
        )
    return done


async def again(conn: asyncpg.Connection, parts: Parts, row: rebuilds.Row, mode: str) -> Plan:
    """Do it, without the audit row: one step of a bulk job as well."""
    planned = await plan(conn, parts, row, mode)
    account, event_id = row["account_id"], row["event_id"]
    if row["status"] == "applied":
        if mode == "force":
            await rebuilds.copy_event(conn, account, event_id, f"{event_id}~{uuid4().hex[:12]}")
        return msgspec.structs.replace(planned, state="appended" if mode == "force" else "compared")
    if mode == "state":
        return await _effect_only(conn, parts, row, planned)
    if not await rebuilds.to_pending(conn, account, event_id):
        raise Conflict(f"{event_id} was applied meanwhile.", code="event_applied")
    return msgspec.structs.replace(planned, state="pending")


async def _effect_only(conn: asyncpg.Connection, parts: Parts, row: rebuilds.Row, planned: Plan) -> Plan:
    """Write the effect of an event that had none yet, under the account's lease, and park what it would send."""
    if planned.unreadable is not None:
        raise Conflict(f"{row['event_id']} cannot be folded: {planned.unreadable}.", code="event_unreadable")
    account, token = row["account_id"], uuid4()
    await rebuild.take_lease(conn, account, token)
    try:
        async with conn.transaction():
            fresh = await found_event(conn, row["event_id"], account)
            if fresh["status"] == "applied":
                raise Conflict(f"{row['event_id']} was applied meanwhile.", code="event_applied")
            one = work_of(fresh)
            one.happenings = translate.happenings(one.stored)
            story = await _story(conn, parts, account, one.happenings)
            one.told = fold(story, one.happenings)
            if one.told.refused and not one.told.changed:
                raise Conflict(f"{row['event_id']} is refused: {one.told.refused[0][1]}.", code="event_refused")
            known = await rebuilds.commands_known(
                conn, account, [command_id(account, c.intent) for c in one.told.commands]
            )
            batch = Batch({account: story}, await states.load_accounts(conn, [account]))
            batch.add(one)
            passed = await states.fence(conn, token, [batch.account(account)])
            if not passed:
                raise Conflict(f"The lease of {account} was lost; nothing was written.", code="account_busy")
            await batch.write(conn, passed)
            new, done = _split(account, one.told, known)
            await rebuilds.hold_back(conn, account, [c["id"] for c in new], SUPPRESSED)
    finally:
        await states.release(conn, token, [account])
    lines = [_line(line) for line in one.told.lines]
    return msgspec.structs.replace(planned, state="applied", transitions=lines, held_back=new, suppressed=done)
