"""How tests wait: until it is so, never for a fixed time, and long, since that costs nothing when it comes and a machine
may be busy. What must be in time is told from what only took long by when the asking began.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

PATIENCE_S = 90.0


async def until_true(holds: Callable[[], object]) -> None:
    """Return once it holds; for what gives no signal."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - there is no signal of it
            await asyncio.sleep(0.01)


async def ends_within(limit_s: float, still: Callable[[], Awaitable[bool]]) -> None:
    """Return once it is so no longer. Nobody who begins to ask later than ``limit_s`` from now may still be told that it is."""
    begun = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            asked = time.monotonic()
            if not await still():
                return
            assert asked - begun < limit_s
            await asyncio.sleep(0.02)
