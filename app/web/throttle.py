"""How many requests a second one API key may make, counted in this process (a service of n processes lets n times as
many pass): a moving window of one second in memory, so a read pays microseconds for it and no round trip.
"""

import math
import time

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from app.errors import RateLimited


class Throttle:
    """Counts requests by key id; ``per_s`` 0 counts nothing."""

    def __init__(self, per_s: int) -> None:
        self._item = RateLimitItemPerSecond(per_s) if per_s else None
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def take(self, key_id: str) -> None:
        """Count one request. Raises RateLimited, which says when the next may pass."""
        if self._item is None or self._window.hit(self._item, key_id):
            return
        free_at = self._window.get_window_stats(self._item, key_id).reset_time
        wait_s = max(1, math.ceil(free_at - time.time()))
        allowed = self._item.amount
        raise RateLimited(f"This key may make {allowed} requests a second.", retry_after_s=wait_s, per_s=allowed)
