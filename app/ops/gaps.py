"""The gap hunter: looks through Stripe's lists for events that did not reach us, and says up to when nothing is missing.

One process of all hunts at a time. A hunt begins where the last complete one ended, however long ago that was (Stripe
keeps 30 days), goes through every account, and only then moves the mark. Once an hour it also asks for what no endpoint
acknowledged in the last three days, which is how long Stripe itself tries.

The audit hears of a hunt that found something, and of one that could not list a context when the hunt that it heard of last
could, or the other way round. That nothing is missing is the mark's to say: the doctor, the console and ``/metrics`` show it.
"""

from datetime import UTC, datetime, timedelta

import structlog

from app.ops.backfill import OVERLAP, Report, backfill, connected
from app.ops.parts import Actor, Parts
from app.store import audit, gauges
from app.store.db import Connection

LOG = structlog.get_logger()

EVERY_MS = 300_000
FIRST_MS = 60_000
"""A process that has just come up looks sooner: who restarts often would never hunt otherwise."""
BACK = timedelta(hours=1)
"""How far the first hunt of all looks back, and every other at least."""
SWEEP_EVERY_MS = 3_600_000
SWEEP_BACK = timedelta(days=3)
SLICE = 500
ME = Actor(who="gap-hunter", reason="scheduled")


class GapHunter:
    """Hunts a minute after the start and then every five; schedule ``poll``."""

    def __init__(self, parts: Parts, *, first_ms: int = FIRST_MS) -> None:
        self._parts = parts
        self._next_ms = parts.clock() + first_ms
        self._sweep_ms = 0

    async def poll(self) -> bool:
        """Hunt once when it is time. Never asks to be called again at once."""
        now_ms = self._parts.clock()
        if now_ms >= self._next_ms:
            self._next_ms = now_ms + EVERY_MS
            async with self._parts.pool.acquire() as lock:
                if await gauges.begin_hunt(lock):
                    try:
                        if not await self._done_by_another(lock):
                            await self.hunt()
                    finally:
                        await gauges.end_hunt(lock)
        return False

    @staticmethod
    async def _done_by_another(conn: Connection) -> bool:
        """Whether another process ended a whole hunt a moment ago."""
        mark = await gauges.complete_until(conn)
        return mark is not None and mark[1] < EVERY_MS / 2_000

    async def hunt(self) -> Report:
        """Go through everything once. The mark moves only when every context could be listed."""
        now_ms = self._parts.clock()
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        async with self._parts.pool.acquire() as conn:
            mark = await gauges.complete_until(conn)
        since = now - BACK if mark is None else min(now - BACK, mark[0])
        whole = await self._all(since, undelivered=False)
        if now_ms >= self._sweep_ms:
            self._sweep_ms = now_ms + SWEEP_EVERY_MS
            swept = await self._all(now - SWEEP_BACK, undelivered=True)
            whole.new += swept.new
        if not whole.failed:
            async with self._parts.pool.acquire() as conn:
                await gauges.mark_complete(conn, now - OVERLAP)
        await self._tell(whole)
        LOG.info("backfill.hunted", found=whole.found, new=whole.new, failed=len(whole.failed))
        return whole

    async def _tell(self, whole: Report) -> None:
        """One row in the audit when there is something to say."""
        unlisted = {context for context, _, _ in (line.partition(": ") for line in whole.failed)}
        async with self._parts.pool.acquire() as conn, conn.transaction():
            before = [row["result"] for row in await audit.newest(conn, who=ME.who, limit=1)]
            known = {line.partition(": ")[0] for result in before for line in result.get("failed", ())}
            if whole.new or unlisted != known or whole.too_old:
                result = {"found": whole.found, "new": whole.new, "failed": whole.failed}
                if whole.too_old:
                    result["too_old"] = True
                since = whole.since.isoformat()
                await audit.note(conn, who=ME.who, action="backfill", target=since, reason=ME.reason, result=result)

    async def _all(self, since: datetime, *, undelivered: bool) -> Report:
        """The platform and every account, a slice at a time, so that no more than a slice's answers are held."""
        accounts = await connected(self._parts)
        whole = Report(since=since, dry_run=False, undelivered=undelivered)
        for at in range(0, max(len(accounts), 1), SLICE):
            part = accounts[at : at + SLICE]
            found = await backfill(
                self._parts, since, ME, yes=True, accounts=part, undelivered=undelivered, platform=at == 0, told=False
            )
            whole.contexts += found.contexts
            whole.found += found.found
            whole.new += found.new
            whole.failed += found.failed
            whole.too_old |= found.too_old
        return whole
