"""A duty's work, whole: what its poll starts and does not wait for included."""

import asyncio
from typing import Protocol


class Duty(Protocol):
    """What a loop of the service polls."""

    async def poll(self) -> bool:
        """Start what is due."""

    async def settle(self) -> None:
        """Wait until nothing is under way."""

    async def close(self, grace_s: float) -> None:
        """End what is still under way after so many seconds."""


async def polled(duty: Duty) -> bool:
    """Poll once, and wait for all that it started. True when there was something to do.

    A caller that is cancelled takes all that it started with it, as the end of a process does.
    """
    try:
        found = await duty.poll()
        await duty.settle()
    except asyncio.CancelledError:
        await duty.close(0)
        raise
    return found
