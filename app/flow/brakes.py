"""The automatic brake: a step that fails in a burst, or that reached the programme's cap of the day, is stopped by itself.

Set in the transaction that ends the failing command, under a lock of the step, so that of several workers none
overlooks the others' failures. It is set once and released by a person only; failures from before a release do not
count again, so it never flaps. What waits behind it stays in the outbox and leaves after the release.
"""

from typing import Any

import structlog

from app.machines.programme import Brakes
from app.store import audit, controls, outbox
from app.store.db import Connection

LOG = structlog.get_logger()

BY = "cardrail"
UNCOUNTED = ("cap_exceeded", "discarded", "suppressed_by_replay")
"""Ends that say nothing of the step: our own caps, and what a person or a replay decided."""
COUNTED_MAX = 20_000


class Guard:
    """Watches how commands end."""

    def __init__(self, rules: Brakes, *, platform_account: str) -> None:
        self._rules = rules
        self._platform = platform_account

    async def failed(self, conn: Connection, kind: str) -> None:
        """A command of this kind was just refused or parked in this transaction: stop the step if it is one of many."""
        rules = self._rules
        if not rules.errors:
            return
        seen = await outbox.burst(
            conn,
            kind,
            platform=self._platform,
            window_s=rules.window_s,
            uncounted=UNCOUNTED,
            counted_max=COUNTED_MAX,
        )
        if seen.failed >= max(rules.errors, seen.settled) and seen.accounts >= rules.accounts:
            reason = f"{seen.failed} commands failed within {rules.window_s} s, {seen.settled} were done"
            await _trip(conn, kind, reason, seen._asdict())

    async def capped(self, conn: Connection, kind: str, breach: str) -> None:
        """The programme's cap of the day is reached: what follows waits instead of being parked one by one."""
        if self._rules.cap:
            await _trip(conn, kind, breach, {})


async def _trip(conn: Connection, kind: str, reason: str, detail: dict[str, Any]) -> None:
    if await controls.trip_brake(conn, step=kind, reason=reason, by=BY):
        await audit.note(conn, who=BY, action="brakes.set", target=kind, reason=reason, result=detail)
        LOG.error("brake.set", step=kind, reason=reason)
