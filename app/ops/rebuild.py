"""rebuild: folds an account's log, from its checkpoint or its first event on, and compares with what is stored.

Each event is folded under the programme of its day, so a change of policy is no difference.

The log explains the state, so the two are equal or something is wrong. A repair writes what the log says, under the
account's lease, as one journalled event; folding that event again changes nothing, so the next rebuild is equal.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec

from app.errors import CardrailError, Conflict, NotFound
from app.flow.work import held
from app.machines.kernel import Object
from app.machines.lifecycle import Facts
from app.machines.links import linked
from app.machines.programme import Programme
from app.machines.story import Story
from app.ops import checkpoint
from app.ops.facts import facts_read
from app.ops.parts import Actor, Parts
from app.store import audit, checkpoints, links, log, rebuilds, states

LEASE_S = 60.0
LEASE_WAIT_S = 10.0
LEASE_EVERY_S = 0.1
PAGE = 200
SHOWN_MAX = 50
LISTED_MAX = 100


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the log and the stored state do not agree on."""

    what: str
    stored: Any
    rebuilt: Any


class Rebuilt(msgspec.Struct, kw_only=True):
    """What the log makes of an account, beside what is stored."""

    account: str
    events: int
    checkpoint: int
    differences: list[Difference]
    unreadable: list[str]
    facts: Facts
    objects: dict[str, Object]
    row: Any
    extra: list[str]

    @property
    def equal(self) -> bool:
        return not self.differences and not self.unreadable

    def report(self) -> dict[str, Any]:
        """As it is shown: at most ``SHOWN_MAX`` differences."""
        return {
            "account": self.account,
            "equal": self.equal,
            "events": self.events,
            "checkpoint": self.checkpoint,
            "differences": [msgspec.to_builtins(d) for d in self.differences[:SHOWN_MAX]],
            "difference_count": len(self.differences),
            "unreadable": self.unreadable[:SHOWN_MAX],
        }


async def rebuild(
    conn: asyncpg.Connection, parts: Parts, account_id: str, known: Mapping[str, Programme] | None = None
) -> Rebuilt:
    """Fold the log of one account in memory, from its checkpoint on; ``known`` are all programmes. Needs a transaction that sees one snapshot. Writes nothing."""
    row = (await states.load_accounts(conn, [account_id])).get(account_id)
    if row is None:
        raise NotFound(f"There is no account {account_id}.")
    start = await checkpoints.find(conn, account_id)
    story = checkpoint.begun(parts, account_id, start["facts"] if start else None)
    if start is not None:
        story.objects = {r["object_id"]: held(r) for r in await checkpoints.objects(conn, account_id)}
    if known is None:
        known = await checkpoint.policies(conn)
    events, unreadable = 0, []
    async for page in rebuilds.log_of(conn, account_id, after=start["applied_seq"] if start else 0):
        events += len(page)
        for event in page:
            try:
                checkpoint.folded(story, event, known, parts.programme)
            except checkpoint.Unfoldable as error:
                unreadable.append(str(error))
        await asyncio.sleep(0)
    stored = {r["object_id"]: held(r) for r in await rebuilds.objects_of(conn, account_id)}
    return Rebuilt(
        account=account_id,
        events=events,
        checkpoint=start["applied_seq"] if start else 0,
        differences=_compare(row, stored, story),
        unreadable=unreadable,
        facts=story.facts,
        objects=story.objects,
        row=row,
        extra=sorted(set(stored) - set(story.objects)),
    )


def _compare(row: states.Row, stored: dict[str, Object], story: Story) -> list[Difference]:
    made, read = msgspec.to_builtins(story.facts), facts_read(row["facts"])
    if read is None:
        found = [Difference(what="facts", stored=row["facts"], rebuilt=made)]
    else:
        known = msgspec.to_builtins(read)
        found = [
            Difference(what=f"facts.{name}", stored=known.get(name), rebuilt=made.get(name))
            for name in sorted({*known, *made})
            if known.get(name) != made.get(name)
        ]
    if row["state"] != story.facts.state:
        found.append(Difference(what="state", stored=row["state"], rebuilt=story.facts.state))
    for object_id in sorted({*stored, *story.objects}):
        before, after = _shape(stored.get(object_id)), _shape(story.objects.get(object_id))
        if before != after:
            found.append(Difference(what=f"objects.{object_id}", stored=before, rebuilt=after))
    return found


def _shape(held_object: Object | None) -> Any:
    """An object as far as it is compared: through JSON, without what only the fold knows."""
    if held_object is None:
        return None
    shape = msgspec.json.decode(msgspec.json.encode(held_object))
    return {name: shape[name] for name in ("kind", "state", "data", "observed_at", "version")}


async def check(parts: Parts, account_id: str, known: Mapping[str, Programme] | None = None) -> Rebuilt:
    """Rebuild one account beside the running service and compare. Writes nothing."""
    async with parts.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        return await rebuild(conn, parts, account_id, known)


async def repair(parts: Parts, account_id: str, actor: Actor) -> dict[str, Any]:
    """Write what the log says where the stored state differs. Does nothing to an account that is equal."""
    token = uuid4()
    async with parts.pool.acquire() as conn:
        await take_lease(conn, account_id, token)
        try:
            async with conn.transaction():
                found = await rebuild(conn, parts, account_id)
                if found.unreadable:
                    raise Conflict("Events of this log cannot be read; nothing was written.", code="log_unreadable")
                if not found.equal:
                    await _write(conn, parts, found, token, actor)
                result = {**found.report(), "repaired": not found.equal}
                said = {"equal": found.equal, "differences": len(found.differences)}
                await audit.note(
                    conn,
                    who=actor.who,
                    action="accounts.rebuild --repair",
                    target=account_id,
                    reason=actor.reason,
                    result=said,
                )
        finally:
            await states.release(conn, token, [account_id])
    return result


async def take_lease(conn: asyncpg.Connection, account_id: str, token: Any) -> None:
    """Wait for the account's lease. Raises NotFound, or Conflict when a worker keeps it."""
    if await conn.fetchval("SELECT true FROM accounts WHERE account_id = $1", account_id) is None:
        raise NotFound(f"There is no account {account_id}.")
    for _ in range(round(LEASE_WAIT_S / LEASE_EVERY_S)):
        if await rebuilds.lease(conn, account_id, token, lease_s=LEASE_S):
            return
        await asyncio.sleep(LEASE_EVERY_S)
    raise Conflict(f"A worker is busy with {account_id}; try again.", code="account_busy")


async def _write(conn: asyncpg.Connection, parts: Parts, found: Rebuilt, token: Any, actor: Actor) -> None:
    account, facts, at_ms = found.account, found.facts, parts.clock()
    event_id = f"repair_{uuid4().hex[:20]}"
    seq, applied = int(found.row["seq"]) + 1, int(found.row["applied"]) + 1
    since = datetime.fromtimestamp(facts.since / 1000, UTC) if facts.since else found.row["since"]
    row = states.AccountRow(
        account, facts.state, since, msgspec.json.encode(facts), facts.enrolled, facts.country, seq, applied, True
    )
    if not await states.fence(conn, token, [row]):
        raise Conflict(f"The lease of {account} was lost; nothing was written.", code="account_busy")
    await log.append(
        conn,
        account_id=account,
        event_id=event_id,
        source="request",
        type=checkpoint.REPAIRED,
        happenings=(),
        at_ms=at_ms,
    )
    await rebuilds.close_as_applied(conn, account, event_id, applied)
    rows = [checkpoint.object_row(account, o) for o in found.objects.values()]
    if rows:
        await states.put_objects(conn, rows)
        await links.put(
            conn,
            [links.LinkRow(account, o.object_id, i) for o in found.objects.values() for i in linked(o.kind, o.data)],
        )
    await rebuilds.delete_objects(conn, account, found.extra)
    note = f"repaired by {actor.who}: {len(found.differences)} differences; {actor.reason}"
    before = str(found.row["state"])
    line = states.LineRow(account, seq, "lifecycle", account, before, facts.state, event_id, b"[]", note)
    await states.write_journal(conn, [line])


async def check_all(parts: Parts, progress: Callable[[int, int], None] = lambda _d, _t: None) -> dict[str, Any]:
    """Rebuild every account, one at a time; ``progress`` hears of (done, total). At most ``LISTED_MAX`` are reported
    that differ, whatever the fleet: ``equal`` and ``accounts`` count all.
    """
    async with parts.pool.acquire() as conn:
        total = await rebuilds.count_accounts(conn)
    after, done, equal, events = "", 0, 0, 0
    differing: list[dict[str, Any]] = []
    while True:
        async with parts.pool.acquire() as conn:
            page, known = await rebuilds.accounts_after(conn, after, PAGE), await checkpoint.policies(conn)
        if not page:
            return {"accounts": done, "events": events, "equal": equal, "differing": differing}
        for account in page:
            try:
                found = await check(parts, account, known)
                events, equal = events + found.events, equal + found.equal
                report = found.report() if not found.equal else None
            except CardrailError as error:
                report = {"account": account, "error": error.message}
            if report is not None and len(differing) < LISTED_MAX:
                differing.append(report)
            done += 1
            progress(done, total)
        after = page[-1]
