"""treasury: the platform's own financial account and addresses, found and read without waiting for an event.

No event tells of a balance, and money may stand there before we ever run. So it is read at the start, every minute, and
every few seconds while a funding waits for it; what differs is told to the platform's log like any reading.
"""

from typing import Any

import structlog

from app.flow.readings import PATHS
from app.flow.work import held
from app.ops import reconcile
from app.ops.parts import Parts
from app.store import platform as store
from app.store import waiting
from app.stripe.client import Reading
from app.stripe.movements import without_numbers
from app.stripe.outcome import TryAgain

LOG = structlog.get_logger()

EVERY_MS = 60_000
SHORT_EVERY_MS = 5_000
AGAIN_MS = 1_000
LISTED_MAX = 100
ACCOUNTS = "/v2/money_management/financial_accounts"
ADDRESSES = "/v2/money_management/financial_addresses"


class Treasury:
    """Schedule ``poll``; any number of processes may run it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._next_ms = 0

    async def poll(self) -> bool:
        """Read what the platform has, when it is time. True when that told something new."""
        now = self._parts.clock()
        if now < self._next_ms:
            return False
        async with self._parts.pool.acquire() as conn:
            short = (await store.funding_waiting(conn))["short_count"]
        self._next_ms = now + (SHORT_EVERY_MS if short else EVERY_MS)
        try:
            seen = await self._look()
        except TimeoutError as error:
            self._next_ms = now + AGAIN_MS
            LOG.warning("treasury.unread", error=str(error))
            return False
        return await reconcile.append(self._parts, self._parts.platform_account, seen) is not None

    async def _look(self) -> reconcile.Look:
        """What differs from what we hold. Raises TimeoutError when Stripe does not answer."""
        parts, at = self._parts, self._parts.clock()
        account = await self._account()
        raw = [account] if account is not None else []
        if account is not None:
            query = {"financial_account": account["id"]}
            rows = await parts.stripe.list_all(ADDRESSES, query, None, page_max=1)
            raw += [without_numbers(row) for row in rows[:LISTED_MAX]]
        async with parts.pool.acquire() as conn:
            known = await waiting.objects_named(conn, parts.platform_account, [str(one.get("id")) for one in raw])
        here = {row["object_id"]: held({**row, "account_id": parts.platform_account}) for row in known}
        found = reconcile.Look(read=len(raw))
        for one in raw:
            drift = reconcile.compare(parts.platform_account, here.get(str(one.get("id"))), one, at)
            if drift is not None:
                found.drift.append(drift)
                found.raw.append((one, at))
        return found

    async def _account(self) -> dict[str, Any] | None:
        """The configured financial account, or the only open one for storage that Stripe lists."""
        configured = self._parts.platform_financial_account
        if configured is not None:
            answer = await self._parts.stripe.read(PATHS["financial_account"] + configured, context=None)
            if isinstance(answer, TryAgain):
                msg = f"{configured} could not be read: {answer.code}"
                raise TimeoutError(msg)
            return answer.object if isinstance(answer, Reading) else None
        rows = await self._parts.stripe.list_all(ACCOUNTS, {}, None, page_max=1)
        ours = [r for r in rows if r.get("status") == "open" and r.get("type") in (None, "storage")]
        return ours[0] if len(ours) == 1 else None
