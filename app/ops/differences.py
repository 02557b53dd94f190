"""differences: where an account's books stay apart from Stripe's balance, what we may have missed is read once more.

A lost event is the likely cause: so the account is reconciled (its financial account with the balance, and whatever of
its money is under way) and its ledger entries of the last days are listed anew. Once per account and day, and told in
the audit: what that does not mend needs a person, whom the doctor tells, and reading again and again would mend no more.
"""

from datetime import UTC, datetime
from typing import Any

import structlog

from app.errors import BadInput, NotFound
from app.ops import books
from app.ops.parts import Actor, Parts
from app.ops.reconcile import reconcile
from app.store import audit, ledger

LOG = structlog.get_logger()

WHO = "cardrail"
ACTION = "books.differ"
ACCOUNTS_MAX = 50
"""Accounts looked at per poll; the next poll goes on behind them."""
SETTLED_S = 60.0
"""Nothing moved for so long, and the balance was read so long ago: a difference is none of timing."""
RECENT_DAYS = 2
AGAIN_HOURS = 24
DAY_MS = 86_400_000


class Differences:
    """Schedule ``poll``; any number of processes may run it."""

    def __init__(self, parts: Parts, *, settled_s: float = SETTLED_S) -> None:
        self._parts = parts
        self._settled_s = settled_s
        self._after = ""
        self._done: dict[str, int] = {}

    async def poll(self) -> bool:
        """Look at the next accounts in which money moved lately."""
        async with self._parts.pool.acquire() as conn:
            names = await ledger.moved_lately(
                conn, days=RECENT_DAYS, settled_s=self._settled_s, after=self._after, limit=ACCOUNTS_MAX
            )
        self._after = names[-1] if len(names) == ACCOUNTS_MAX else ""
        today = self._parts.clock() // DAY_MS
        self._done = {name: day for name, day in self._done.items() if day == today}
        for name in names:
            if name not in self._done and (apart := await self._apart(name)) is not None:
                self._done[name] = today
                await self._read_again(name, apart)
        return False

    async def _apart(self, account: str) -> str | None:
        """What today's books lack, once it is no matter of timing."""
        today = books.today(self._parts.clock())
        try:
            async with self._parts.pool.acquire() as conn:
                found = await books.of_account(conn, account, today, today)
        except BadInput:
            return None
        if found["balanced"] is not False or found["entries_missing"] or self._fresh(found):
            return None
        return books.apart(found)

    def _fresh(self, found: dict[str, Any]) -> bool:
        now = datetime.fromtimestamp(self._parts.clock() / 1000, UTC)
        read = [day["stripe"]["at"] for day in found["days"] if day["balanced"] is False]
        return any((now - at).total_seconds() < self._settled_s for at in read)

    async def _read_again(self, account: str, apart: str) -> None:
        reason = f"Stripe's balance less our books: {apart}"
        async with self._parts.pool.acquire() as conn, conn.transaction():
            if not await audit.note_once(
                conn, who=WHO, action=ACTION, target=account, reason=reason, hours=AGAIN_HOURS
            ):
                return
        LOG.warning("books.differ", account=account, apart=apart)
        try:
            await reconcile(self._parts, Actor(who=WHO, reason=reason), yes=True, account=account)
        except NotFound:
            return
        async with self._parts.pool.acquire() as conn:
            await ledger.reread(conn, account, days=RECENT_DAYS)
