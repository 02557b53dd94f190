"""How far a reader of the journal may read: the horizon, and what is done when somebody's long transaction holds it."""

import time

import structlog

from app.store import feed
from app.store.db import Connection

LOG = structlog.get_logger()

HELD_UP_S = 2.0
"""From here on lines wait for a long transaction: look who that is, and pass those that can bring none."""
COMPLAIN_AFTER_S = 10.0
COMPLAIN_EVERY_S = 60.0


class Horizon:
    """Remembers what was passed over, and when it last complained."""

    def __init__(self) -> None:
        self._floor = 0
        self._complain_at = 0.0

    async def below(self, conn: Connection) -> int:
        """Lines of transactions below this one may be read from now on."""
        return max(self._floor, await feed.horizon(conn))

    async def held_up_s(self, conn: Connection, below: int) -> float | None:
        """For how long the oldest line beyond ``below`` has waited, seconds. When that is long, the horizon moves past
        transactions that can bring no line, and the log says who is left.
        """
        waited_s = await feed.held_up_s(conn, below)
        if waited_s is not None and waited_s > HELD_UP_S:
            self._floor = max(self._floor, await feed.far_horizon(conn))
        if waited_s is not None and waited_s > COMPLAIN_AFTER_S and time.monotonic() > self._complain_at:
            self._complain_at = time.monotonic() + COMPLAIN_EVERY_S
            found = await feed.blocker(conn)
            LOG.warning("stream.held_up", for_s=round(waited_s, 1), by=found._asdict() if found else None)
        return waited_s
