"""What we do about Stripe's health alerts: events that were never generated are looked for, once per alert, by ourselves.

The alert names when it was over and, for a connected account, which one. We look back ``BACK`` before that (it does not say
since when), in the platform's context and that account's. A backfill that could not read everything is made again.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from app.machines.health_alert import EVENTS_MISSED
from app.ops.backfill import KEPT, backfill
from app.ops.parts import Actor, Parts
from app.store import alerts
from app.store.db import Connection
from app.store.views import parsed

LOG = structlog.get_logger()

BACK = timedelta(days=3)
AT_ONCE_MAX = 10
AGAIN_MS = 60_000


class Answerer:
    """Starts the backfills. Any number of processes may run it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._not_before = 0

    async def poll(self) -> bool:
        """Answer what is unanswered; False, since nothing more waits then."""
        if self._parts.clock() < self._not_before:
            return False
        async with self._parts.pool.acquire() as conn:
            if await alerts.begin(conn):
                try:
                    await self._answer_all(conn)
                finally:
                    await alerts.end(conn)
        return False

    async def _answer_all(self, conn: Connection) -> None:
        for row in await alerts.unanswered(conn, self._parts.platform_account, EVENTS_MISSED, AT_ONCE_MAX):
            if await self._answer(row["object_id"], parsed(row["data"])):
                now = datetime.fromtimestamp(self._parts.clock() / 1000, UTC)
                await alerts.answered(conn, row["object_id"], now)

    async def _answer(self, alert_id: str, data: dict[str, Any]) -> bool:
        """Bring in what is missing; whether everything could be read."""
        now = datetime.fromtimestamp(self._parts.clock() / 1000, UTC)
        since = max(_moment(data.get("started_at")) or (_moment(data.get("resolved_at")) or now) - BACK, now - KEPT)
        context = (data.get("impact") or {}).get("context")
        actor = Actor(who="cardrail", reason=f"Stripe failed to generate events: alert {alert_id}")
        accounts = [context] if isinstance(context, str) else None
        found = await backfill(self._parts, min(since, now), actor, yes=True, accounts=accounts)
        LOG.warning("health.backfilled", alert=alert_id, found=found.found, new=found.new, failed=len(found.failed))
        if found.failed:
            self._not_before = self._parts.clock() + AGAIN_MS
        return not found.failed


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC) if moment else None
