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
from app.machines import programme as policy
from app.machines.commands import command_id
from app.machines.events import Happening
from app.machines.lifecycle import Facts
from app.machines.registry import MACHINES
from app.machines.story import Story, Told, fold
from app.ops import rebuild
from app.ops.parts import Parts
from app.store import programmes, rebuilds, states
from app.stripe import catalog, envelope, translate
from app.stripe.translate import Poisoned

MODES = ("state", "resume", "force")
SUPPRESSED = {
    "code": "suppressed_by_replay",
    "message": "A replay in mode state folded the event; `cardrail commands retry` lets this command leave.",
}
COPY = "~"
"""Stands in the name of a copy that ``force`` appended, between the event's own name and the job's."""
NEVER_FORCED = ("hold.", "attempt.", "account.repaired")
"""Events that say what a person decided at that moment: never repeated."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay does: ``leaving``, ``held_back`` and ``suppressed`` are ``{id, kind, intent, status, amount}``.

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

    @property
    def amount(self) -> int:
        """Minor units that would leave at once."""
        return sum(command["amount"] or 0 for command in self.leaving)

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
    if row["payload"] is None and (status, mode) != ("applied", "state"):
        raise Conflict(
            f"The body of {event_id} was dropped: it was older than retention keeps.", code="payload_dropped"
        )
    if status != "applied" and row["kind"] != "internal":
        read = envelope.read(bytes(row["payload"]), parts.platform_account)
        if isinstance(read, envelope.Envelope) and read.livemode not in (None, parts.settings.livemode):
            raise Conflict(f"{event_id} is of the other mode (livemode {read.livemode}).", code="other_mode")


async def plan(
    conn: asyncpg.Connection, parts: Parts, row: rebuilds.Row, mode: str, *, checked: rebuild.Rebuilt | None = None
) -> Plan:
    """What replaying the event would do, computed on the state as it is; nothing is written. ``checked`` is what a
    comparison of the account found a moment ago; else one is made, on a connection of its own.
    """
    must_allow(row, mode, parts)
    if mode == "state" and row["status"] == "applied":
        found = (checked or await rebuild.check(parts, row["account_id"])).report()
        does = "folds the account's log again and compares; no command leaves"
        return Plan(**_named(row, mode), does=does, equal=found["equal"], differences=found["differences"])
    return await (await Dry.open(conn, parts, row["account_id"])).plan(conn, row, mode)


def _named(row: rebuilds.Row, mode: str) -> dict[str, Any]:
    return {
        "event": row["event_id"],
        "account": row["account_id"],
        "type": row["type"],
        "status": row["status"],
        "mode": mode,
    }


class Dry:
    """One account's story in memory, into which events are folded to see what they would do; nothing is written."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._loaded: set[str] = set()
        self._issued: dict[str, list[rebuilds.Row]] | None = None

    @property
    def account(self) -> str:
        return self._story.account_id

    @classmethod
    async def open(cls, conn: asyncpg.Connection, parts: Parts, account: str) -> "Dry":
        return cls(await _story(conn, parts, account, ()))

    async def plan(self, conn: asyncpg.Connection, row: rebuilds.Row, mode: str) -> Plan:
        """What this event would do after those that were folded here before it."""
        happenings, unreadable = _understood(work_of(row))
        await self._load(conn, happenings)
        told = fold(self._story, happenings) if unreadable is None else Told()
        known = await _known(conn, self.account, told)
        new, done = _split(self.account, told, known)
        if row["status"] == "applied":
            done += [
                command for command in await self._once_issued(conn, row["event_id"]) if command["id"] not in known
            ]
        return Plan(
            **_named(row, mode),
            does={
                "state": "writes the effect; new commands are parked as suppressed_by_replay",
                "resume": "gives the event back to apply; the next step may follow",
                "force": "appends a copy to the log" if row["status"] == "applied" else "gives the event back to apply",
            }[mode],
            transitions=[_line(line) for line in told.lines],
            leaving=[] if mode == "state" else new,
            held_back=new if mode == "state" else [],
            suppressed=done,
            unreadable=unreadable,
        )

    async def _once_issued(self, conn: asyncpg.Connection, event_id: str) -> list[dict[str, Any]]:
        """The commands that this event led to when it was applied: they exist, so none is made again."""
        if self._issued is None:
            self._issued = {}
            for row in await rebuilds.commands_of(conn, self.account):
                self._issued.setdefault(row["caused_by"], []).append(row)
        return [
            {name: row[name] for name in ("id", "kind", "intent", "status", "amount", "currency")}
            for row in self._issued.get(event_id, ())
        ]

    async def _load(self, conn: asyncpg.Connection, happenings: tuple[Happening, ...]) -> None:
        """The objects that these happenings name and that are not here yet."""
        wanted = set(named(happenings)) - self._loaded
        if wanted:
            self._loaded |= wanted
            for row in await states.load_objects(conn, [(self.account, name) for name in sorted(wanted)]):
                self._story.objects.setdefault(row["object_id"], held(row))


async def _known(conn: asyncpg.Connection, account: str, told: Told) -> dict[str, str]:
    """Those of the commands told that exist already, with their status."""
    wanted = [command_id(account, command.intent) for command in told.commands]
    return await rebuilds.commands_known(conn, account, wanted) if wanted else {}


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
        row = {
            "id": made,
            "kind": command.kind,
            "intent": command.intent,
            "status": known.get(made),
            "amount": command.moves.value if command.moves else None,
            "currency": command.moves.currency if command.moves else None,
        }
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


async def again(conn: asyncpg.Connection, parts: Parts, row: rebuilds.Row, mode: str, *, job: str | None = None) -> str:
    """Do it, without asking what would follow and without the audit row. Returns the state as in :class:`Plan`.

    The copy that ``force`` appends is named after the ``job``, so a job that does a chunk again appends nothing twice.
    """
    must_allow(row, mode, parts)
    account, event_id = row["account_id"], row["event_id"]
    if row["status"] == "applied":
        if mode == "force":
            await rebuilds.copy_event(conn, account, event_id, f"{event_id}{COPY}{job or uuid4().hex[:12]}")
        return "appended" if mode == "force" else "compared"
    if mode == "state":
        await _effect_only(conn, parts, row)
        return "applied"
    if not await rebuilds.to_pending(conn, account, event_id):
        raise Conflict(f"{event_id} was applied meanwhile.", code="event_applied")
    return "pending"


async def _effect_only(conn: asyncpg.Connection, parts: Parts, row: rebuilds.Row) -> None:
    """Write the effect of an event that had none yet, under the account's lease, and park what it would send."""
    _, unreadable = _understood(work_of(row))
    if unreadable is not None:
        raise Conflict(f"{row['event_id']} cannot be folded: {unreadable.rstrip('.')}.", code="event_unreadable")
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
                raise Conflict(
                    f"{row['event_id']} is refused: {one.told.refused[0][1].rstrip('.')}.", code="event_refused"
                )
            known = await _known(conn, account, one.told)
            under = policy.fingerprint(parts.programme)
            batch = Batch({account: story}, await states.load_accounts(conn, [account]), under)
            batch.add(one)
            passed = await states.fence(conn, token, [batch.account(account)])
            if not passed:
                raise Conflict(f"The lease of {account} was lost; nothing was written.", code="account_busy")
            await batch.write(conn, passed)
            await programmes.keep(conn, under, policy.folding(parts.programme))
            new, _ = _split(account, one.told, known)
            await rebuilds.hold_back(conn, account, [c["id"] for c in new], SUPPRESSED)
    finally:
        await states.release(conn, token, [account])
