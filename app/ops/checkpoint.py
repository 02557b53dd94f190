"""Checkpoints: an account's log folded up to one of its events and kept, so a rebuild can start there.

A checkpoint comes from the log alone, never from the live state, and each event is folded into it once. Bodies may be
dropped only behind it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec

from app.flow.work import held, named, work_of
from app.machines import programme as policy
from app.machines.kernel import Object
from app.machines.lifecycle import Facts
from app.machines.programme import Programme
from app.machines.registry import MACHINES
from app.machines.story import Story, fold
from app.ops.parts import Parts
from app.store import checkpoints, programmes, rebuilds, states
from app.stripe import translate
from app.stripe.translate import Poisoned

PAGE = 500
REPAIRED = "account.repaired"
"""A repair wrote what the log said: it says nothing that is not in the log already."""


class Unfoldable(Exception):
    """An applied event that cannot be folded again."""


async def policies(conn: asyncpg.Connection) -> dict[str, Programme]:
    """The programmes of all days; one that today's code cannot read is left out."""
    found = {}
    for fingerprint, body in (await programmes.every(conn)).items():
        try:
            found[fingerprint] = policy.folded_under(body)
        except msgspec.ValidationError:
            continue
    return found


def begun(parts: Parts, account_id: str, facts: Any) -> Story:
    """The story of an account as of a checkpoint's facts (or none), without its objects."""
    return Story(
        account_id=account_id,
        platform=account_id == parts.platform_account,
        facts=msgspec.convert(facts or {}, Facts),
        objects={},
        machines=MACHINES,
        programme=parts.programme,
    )


def folded(story: Story, event: rebuilds.Row, known: Mapping[str, Programme], today: Programme) -> dict[str, Object]:
    """Fold one event of the log under the programme of its day; the objects it changed. Raises Unfoldable."""
    if event["type"] == REPAIRED:
        return {}
    if event["payload"] is None:
        raise Unfoldable(f"{event['event_id']}: its body was dropped.")
    if event.get("unsealable") is not None:
        raise Unfoldable(f"{event['event_id']}: {event['unsealable']}")
    story.programme = known.get(event["programme"] or "", today)
    try:
        return fold(story, translate.happenings(work_of(event).stored)).changed
    except Poisoned as error:
        raise Unfoldable(f"{event['event_id']}: {error.message}") from error


async def advance(parts: Parts, account_id: str, through: int) -> bool:
    """Move an account's checkpoint on to the event applied as number ``through``, a page at a time.

    False when an event on the way cannot be folded: the checkpoint then stays before it.
    """
    while True:
        async with parts.pool.acquire() as conn, conn.transaction():
            start = await checkpoints.lock(conn, account_id)
            if start["applied_seq"] >= through:
                return True
            page = await rebuilds.log_page(conn, account_id, after=start["applied_seq"], through=through, limit=PAGE)
            try:
                await _over(conn, parts, account_id, start, page, through)
            except Unfoldable:
                return False


async def _over(
    conn: asyncpg.Connection, parts: Parts, account_id: str, start: Any, page: list[rebuilds.Row], through: int
) -> None:
    known, story = await policies(conn), begun(parts, account_id, start["facts"])
    wanted: set[str] = set()
    for event in page:
        if event["payload"] is not None and event["type"] != REPAIRED:
            try:
                wanted.update(named(translate.happenings(work_of(event).stored)))
            except Poisoned as error:
                raise Unfoldable(error.message) from error
    for row in await checkpoints.objects(conn, account_id, sorted(wanted)):
        story.objects[row["object_id"]] = held(row)
    changed: dict[str, Object] = {}
    for event in page:
        changed |= folded(story, event, known, parts.programme)
    if changed:
        await checkpoints.put_objects(conn, [object_row(account_id, o) for o in changed.values()])
    end = page[-1]["applied_seq"] if len(page) == PAGE else through
    ids = [event["event_id"] for event in page]
    facts = msgspec.json.encode(story.facts)
    await checkpoints.move(conn, account_id, applied_seq=end, facts=facts, event_ids=ids)


def object_row(account_id: str, o: Object) -> states.ObjectRow:
    """An object as a row."""
    at = datetime.fromtimestamp(o.observed_at / 1000, UTC)
    return states.ObjectRow(account_id, o.object_id, o.kind, o.state, msgspec.json.encode(o.data), at, o.version)
