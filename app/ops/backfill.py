"""backfill: events that Stripe has and the log does not, brought in through the same door, marked ``poll``.

Both lists are read, snapshot (``/v1/events``) and thin (``/v2/core/events``), in the platform's context and in each
connected account's, from a little before the moment asked for: the v2 list is only eventually consistent. Stripe keeps
30 days: asked for more, the report says ``too_old``. What the log has already stays as it is.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from app.errors import BadInput
from app.ops.parts import Actor, Parts
from app.store import audit, events, rebuilds
from app.stripe import envelope
from app.stripe.envelope import Envelope

OVERLAP = timedelta(minutes=10)
KEPT = timedelta(days=30)
PAGES_MAX = 1_000
AT_ONCE_MAX = 4
INSERT_MAX = 500


class Report(msgspec.Struct, kw_only=True):
    """What was found. ``new`` are events that the log did not have; ``failed`` contexts that could not be listed.
    ``too_old``: more was asked for than Stripe keeps.
    """

    since: datetime
    dry_run: bool
    undelivered: bool = False
    too_old: bool = False
    contexts: int = 0
    found: int = 0
    new: int = 0
    by_type: dict[str, int] = {}
    refused: dict[str, int] = {}
    failed: list[str] = []

    def report(self) -> dict[str, Any]:
        """As plain data; ``complete`` when nothing can be missing."""
        return {
            **msgspec.to_builtins(self),
            "since": self.since.isoformat(),
            "complete": not self.failed and not self.undelivered and not self.too_old,
        }


async def backfill(
    parts: Parts,
    since: datetime,
    actor: Actor,
    *,
    yes: bool,
    accounts: Sequence[str] | None = None,
    undelivered: bool = False,
    platform: bool = True,
    told: bool = True,
    progress: Callable[[int, int], None] = lambda _d, _t: None,
) -> Report:
    """Bring in what is missing since ``since``, of the platform and of ``accounts`` (all that we know without them).

    ``undelivered`` asks only v1, and only for what some endpoint did not acknowledge: quick, and never complete. Without
    ``told`` the audit hears nothing: whoever asks says it there.

    Raises BadInput for a moment that has no zone or lies in the future.
    """
    now = datetime.fromtimestamp(parts.clock() / 1000, UTC)
    if since.tzinfo is None or since > now:
        said = "Must be a time in the past, with its zone."
        errors = [{"field": "since", "message": said}]
        raise BadInput(f"since: {said}", code="bad_since", status=422, details={"errors": errors})
    start = max(since.astimezone(UTC) - OVERLAP, now - KEPT)
    report = Report(since=start, dry_run=not yes, undelivered=undelivered, too_old=since < now - KEPT)
    contexts: list[str | None] = [None] if platform else []
    contexts += await connected(parts) if accounts is None else accounts
    limit, done = asyncio.Semaphore(AT_ONCE_MAX), 0

    async def one(context: str | None) -> None:
        nonlocal done
        async with limit:
            await _context(parts, report, start, context, yes=yes, undelivered=undelivered)
        done += 1
        progress(done, len(contexts))

    await asyncio.gather(*(one(context) for context in contexts))
    report.contexts = len(contexts)
    async with parts.pool.acquire() as conn:
        if yes and report.new:
            await events.notify(conn)
        if yes and told:
            result = {"found": report.found, "new": report.new, "failed": report.failed}
            target = start.isoformat()
            await audit.note(conn, who=actor.who, action="backfill", target=target, reason=actor.reason, result=result)
    return report


async def connected(parts: Parts) -> list[str]:
    """Every connected account that we know."""
    found: list[str] = []
    async with parts.pool.acquire() as conn:
        after = ""
        while page := await rebuilds.accounts_after(conn, after, 1_000):
            found += page
            after = page[-1]
    return [account for account in found if account != parts.platform_account and account.startswith("acct_")]


async def _context(
    parts: Parts, report: Report, start: datetime, context: str | None, *, yes: bool, undelivered: bool
) -> None:
    v1: dict[str, Any] = {"created[gte]": int(start.timestamp())}
    if undelivered:
        v1["delivery_success"] = "false"
    v2 = {"created[gte]": start.strftime("%Y-%m-%dT%H:%M:%SZ")}
    lists = [("/v1/events", v1)] if undelivered else [("/v1/events", v1), ("/v2/core/events", v2)]
    for path, params in lists:
        try:
            rows, whole = await parts.stripe.pages(path, params, context, PAGES_MAX)
        except TimeoutError as error:
            report.failed.append(f"{context or 'platform'}: {error}")
            continue
        if not whole:
            report.failed.append(f"{context or 'platform'}: {path} has more than could be read")
        fresh = await _missing(parts, list(_rows(parts, report, rows, context)))
        for row in fresh:
            report.by_type[row.type] = report.by_type.get(row.type, 0) + 1
        report.found += len(rows)
        made = await _insert(parts, fresh) if yes else len(fresh)
        report.new += made  # not in one statement: others add to it during the await


def _rows(
    parts: Parts, report: Report, listed: Iterable[dict[str, Any]], context: str | None
) -> Iterable[events.NewEvent]:
    """Rows of the log; an event that names no account belongs to the context it was listed in."""
    for raw in listed:
        body = msgspec.json.encode(raw)
        read = envelope.read(body, context or parts.platform_account)
        if not isinstance(read, Envelope):
            report.refused[read.code] = report.refused.get(read.code, 0) + 1
            continue
        ours = read.livemode is None or read.livemode == parts.settings.livemode
        yield events.NewEvent(
            account_id=read.account_id,
            event_id=read.event_id,
            type=read.type,
            kind=read.kind,
            created=read.created,
            payload=body,
            source="poll",
            status="pending" if ours else "ignored",
            twin_id=read.twin_id,
        )


async def _missing(parts: Parts, rows: list[events.NewEvent]) -> list[events.NewEvent]:
    """Those that the log does not have, one of each, in key order."""
    async with parts.pool.acquire() as conn:
        known = await rebuilds.known_events(conn, [row.key for row in rows])
    return [row for key, row in sorted({row.key: row for row in rows}.items()) if key not in known]


async def _insert(parts: Parts, rows: list[events.NewEvent]) -> int:
    made = 0
    for at in range(0, len(rows), INSERT_MAX):
        async with parts.pool.acquire() as conn, conn.transaction():
            made += len(await events.insert_events(conn, rows[at : at + INSERT_MAX]))
    return made
