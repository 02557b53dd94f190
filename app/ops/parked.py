"""parked: what needs a person, grouped by fingerprint, and the same answer for all of one fingerprint.

A fingerprint is what (event or command), which type or kind, and which error code. Retry goes under the one key that a
command has; ignoring and discarding keep the reason. Nothing parked is ever dropped.
"""

from typing import Any

import asyncpg

from app.errors import BadInput, CardrailError
from app.ops import requests
from app.ops.parts import Actor
from app.store import audit, health

AT_ONCE_MAX = 500
ANSWERS = {"event": ("retry", "ignore"), "command": ("retry", "discard")}


async def groups(conn: asyncpg.Connection) -> list[dict[str, Any]]:
    """All that is parked, largest group first: ``{what, kind, code, count, oldest, message, example}``."""
    return [dict(row) for row in await health.parked(conn)]


async def answer(
    conn: asyncpg.Connection, what: str, kind: str, code: str, answer_: str, actor: Actor, *, at_ms: int
) -> dict[str, Any]:
    """Retry, ignore or discard everything of one fingerprint, ``AT_ONCE_MAX`` at a time. Commits nothing."""
    if what not in ANSWERS or answer_ not in ANSWERS[what]:
        raise BadInput(f"A parked {what} takes: {', '.join(ANSWERS.get(what, ()))}.", code="bad_answer")
    done, refused = 0, 0
    for found in await health.parked_ids(conn, what, kind, code, AT_ONCE_MAX):
        try:
            async with conn.transaction():
                await _one(conn, what, found, answer_, actor, at_ms)
            done += 1
        except CardrailError:
            refused += 1
    result = {"done": done, "refused": refused, "more": done + refused == AT_ONCE_MAX}
    target = f"{what} {kind} {code}"
    await audit.note(conn, who=actor.who, action=f"parked.{answer_}", target=target, reason=actor.reason, result=result)
    return result


async def _one(conn: asyncpg.Connection, what: str, found: str, answer_: str, actor: Actor, at_ms: int) -> None:
    match what, answer_:
        case "event", "retry":
            await requests.retry_event(conn, found)
        case "event", _:
            await requests.ignore_event(conn, found, by=actor.who, reason=actor.reason)
        case _, "retry":
            await requests.retry_command(conn, found)
        case _:
            await requests.discard_command(conn, found, by=actor.who, reason=actor.reason, at_ms=at_ms)
