"""retention: payloads that no rebuild needs are dropped after a set age, a small chunk at a time.

An applied event is what its account is folded from, so its payload stays. An ignored one had no effect: after
``PAYLOAD_DAYS`` its body goes and its row stays, so a duplicate is still known. Nothing that moved money is touched.
"""

from typing import Any

from app.ops.parts import Actor, Parts
from app.store import audit, retention

PAYLOAD_DAYS = 90
CHUNK_MAX = 500
EVERY_MS = 3_600_000


async def drop(parts: Parts, actor: Actor, *, days: int = PAYLOAD_DAYS, yes: bool) -> dict[str, Any]:
    """Drop what is old enough, chunk by chunk; without ``yes`` only count."""
    dropped = 0
    async with parts.pool.acquire() as conn:
        waiting = await retention.count(conn, days)
    while yes:
        async with parts.pool.acquire() as conn, conn.transaction():
            done = await retention.drop_payloads(conn, days, CHUNK_MAX)
        dropped += done
        if done < CHUNK_MAX:
            break
    result = {"days": days, "found": waiting, "dropped": dropped, "dry_run": not yes}
    if dropped:
        async with parts.pool.acquire() as conn:
            await audit.note(
                conn, who=actor.who, action="retention", target="events", reason=actor.reason, result=result
            )
    return result


class Keeper:
    """Runs retention once an hour; schedule ``poll``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._next_ms = 0

    async def poll(self) -> bool:
        """Drop what is old enough when it is time."""
        now_ms = self._parts.clock()
        if now_ms >= self._next_ms:
            self._next_ms = now_ms + EVERY_MS
            await drop(self._parts, Actor(who="retention", reason="scheduled"), yes=True)
        return False
