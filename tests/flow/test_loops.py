"""Loops: how often they begin, and what goes on beside them."""

import asyncio
import itertools
import time

import pytest

from app.flow.loops import CHANNEL, Bell, Places, listen, loop
from app.store import db
from tests.patience import PATIENCE_S

EARLY_S = 0.002
"""Timers of the event loop may ring so much early."""


async def test_a_loop_begins_no_sooner_than_it_may_also_when_it_finds_work_and_is_rung() -> None:
    begun: list[float] = []
    bell, enough = Bell(), asyncio.Event()

    async def poll() -> bool:
        begun.append(time.monotonic())
        bell.ring()
        if len(begun) == 4:
            enough.set()
        return len(begun) % 2 == 0

    task = asyncio.create_task(loop("test", poll, bell, idle_s=PATIENCE_S, every_s=0.03))
    await asyncio.wait_for(enough.wait(), PATIENCE_S)
    task.cancel()
    assert min(after - before for before, after in itertools.pairwise(begun)) >= 0.03 - EARLY_S


async def test_places_are_waited_for_when_all_are_taken() -> None:
    rung: list[bool] = []
    places, may_end = Places(2, lambda: rung.append(True)), asyncio.Event()

    async def work() -> None:
        await may_end.wait()

    places.start(work())
    assert await places.free() == 1
    places.start(work())
    waiting = asyncio.create_task(places.free())
    await asyncio.sleep(0)
    assert not waiting.done()
    may_end.set()
    assert await asyncio.wait_for(waiting, PATIENCE_S) >= 1
    await places.settle()
    assert rung == [True, True]


async def test_what_fails_beside_a_loop_is_told_to_it_once() -> None:
    places = Places(1)

    async def work() -> None:
        raise OSError("gone")

    places.start(work())
    with pytest.raises(OSError, match="gone"):
        await places.settle()
    assert await places.free() == 1


async def test_what_does_not_end_in_time_is_cut_off_at_the_close() -> None:
    places, ended = Places(1), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    places.start(work())
    await asyncio.sleep(0)
    await places.close(0)
    assert ended.is_set()


async def test_a_listener_outlives_a_failure_that_nobody_thought_of(dsn: str) -> None:
    """Without it a process hears of new work by polling only, and of a server that hangs not at all."""
    tried, heard = 0, asyncio.Event()

    async def connect() -> db.Connection:
        nonlocal tried
        tried += 1
        if tried == 1:
            raise ValueError("an answer that the driver does not understand")
        return await db.connect(dsn)

    listening = asyncio.create_task(listen(connect, heard.set))
    conn = await db.connect(dsn)
    async with asyncio.timeout(PATIENCE_S / 3):
        while not heard.is_set():
            await conn.execute(f"NOTIFY {CHANNEL}")
            await asyncio.wait({listening}, timeout=0.02)
            assert not listening.done()
    listening.cancel()
    await conn.close()
