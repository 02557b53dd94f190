"""polling: outbound setup intents, of which Stripe sends no event. What is not over is read again, ever more rarely.

Reading an intent tells of the payout method inside it as well. Any number of processes may run it.
"""

import structlog

from app.flow.readings import PATHS
from app.ops import reconcile
from app.ops.parts import Parts
from app.store import waiting
from app.stripe.client import Missing, Reading

LOG = structlog.get_logger()

KIND = "outbound_setup_intent"
FIRST_MS = 2_000
WAIT_MAX_MS = 3_600_000
AT_ONCE_MAX = 50
REMEMBERED_MAX = 20_000


class Poller:
    """Schedule ``poll``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._again: dict[str, tuple[float, int]] = {}

    async def poll(self) -> bool:
        """Read the intents that are due. True when that told something new."""
        now = self._parts.clock()
        if len(self._again) > REMEMBERED_MAX:
            self._again.clear()
        skip = [name for name, (due, _) in self._again.items() if due > now]
        async with self._parts.pool.acquire() as conn:
            rows = await waiting.to_poll(conn, silent_s=FIRST_MS / 1000, skip=skip, limit=AT_ONCE_MAX)
        told = [await self._one(row["account_id"], row["object_id"], row["state"], now) for row in rows]
        return any(told)

    async def _one(self, account: str, intent: str, state: str, now: int) -> bool:
        _, times = self._again.get(intent, (0.0, 0))
        self._again[intent] = (now + min(FIRST_MS * 2**times, WAIT_MAX_MS), min(times + 1, 20))
        context = None if account == self._parts.platform_account else account
        at = self._parts.clock()
        answer = await self._parts.stripe.read(PATHS[KIND] + intent, context=context)
        if isinstance(answer, Missing):
            LOG.warning("polling.gone", account=account, object_id=intent, code=answer.code)
        if not isinstance(answer, Reading) or answer.object.get("status") == state:
            return False
        del self._again[intent]
        found = reconcile.Look(read=1, raw=[(answer.object, at)])
        return await reconcile.append(self._parts, account, found) is not None
