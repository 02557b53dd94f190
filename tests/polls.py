"""A duty's work, whole: what its poll starts and does not wait for included."""

from typing import Protocol


class Duty(Protocol):
    """What a loop of the service polls."""

    async def poll(self) -> bool:
        """Start what is due."""

    async def settle(self) -> None:
        """Wait until nothing is under way."""


async def polled(duty: Duty) -> bool:
    """Poll once, and wait for all that it started. True when there was something to do."""
    found = await duty.poll()
    await duty.settle()
    return found
