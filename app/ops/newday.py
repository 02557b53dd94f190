"""newday: what stood still until the next UTC day goes on by itself when that day begins.

The limit of the day on top-ups is such a wait: no event of Stripe ends it. So once a day, and at the start of a process,
the accounts that it may have stopped are looked at, and those that get a top-up now are told so by an event of their log,
``day.began``, which a rebuild finds there. An account is told once per day, however many processes look.
"""

import structlog

from app.machines import topup
from app.machines.events import DayBegan
from app.machines.lifecycle import Facts
from app.ops.facts import facts_read
from app.ops.parts import Parts
from app.store import log, waiting

LOG = structlog.get_logger()

PAGE_MAX = 500


class NewDay:
    """Schedule ``poll``; any number of processes may run it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._done = -1

    async def poll(self) -> bool:
        """Look once per day. True when an account was told."""
        now = self._parts.clock()
        today = now // topup.DAY_MS
        if self._parts.programme.funding.top_up is None or today == self._done:
            return False
        told, after = 0, ""
        while page := await self._page(today, after):
            told += sum([await self._tell(row, now, today) for row in page])
            after = page[-1]["account_id"]
        self._done = today
        if told:
            LOG.info("newday.told", accounts=told)
        return told > 0

    async def _page(self, today: int, after: str) -> list[waiting.Row]:
        async with self._parts.pool.acquire() as conn:
            return await waiting.topped_before(conn, day=today, after=after, limit=PAGE_MAX)

    async def _tell(self, row: waiting.Row, now: int, today: int) -> bool:
        """Tell an account that gets a top-up now; whether it is new to it."""
        account, facts = row["account_id"], facts_read(row["facts"]) or Facts()
        if topup.wanted(account, facts, self._parts.programme, now) is None:
            return False
        async with self._parts.pool.acquire() as conn, conn.transaction():
            return await log.append(
                conn,
                account_id=account,
                event_id=f"day_{account}_{today}",
                source="timer",
                type="day.began",
                happenings=(DayBegan(at=now),),
                at_ms=now,
            )
