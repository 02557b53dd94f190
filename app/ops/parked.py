"""parked: what needs a person, grouped by fingerprint, and the same answer for all of one fingerprint.

A fingerprint is what (event or command), which type or kind, and which error code; its short id names it on the command
line and in a path. Retry goes under the one key that a command has; ignoring and discarding keep the reason. Nothing
parked is ever dropped.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import asyncpg

from app.errors import CardrailError, Conflict, NotFound
from app.ops import requests
from app.ops.parts import Actor
from app.store import audit, health
from app.store.db import Pool

AT_ONCE_MAX = 500
ROUNDS_MAX = 2_000
ANSWERS = {"event": ("retry", "ignore"), "command": ("retry", "discard")}


def fingerprint(what: str, kind: str, code: str) -> str:
    """The short name of what is alike: it follows from its parts, so it is the same tomorrow."""
    return "pk_" + hashlib.sha256(f"{what}|{kind}|{code}".encode()).hexdigest()[:12]


async def groups(conn: asyncpg.Connection) -> list[dict[str, Any]]:
    """All that is parked, largest group first: ``{fingerprint, what, kind, code, count, oldest, message, example}``."""
    return [
        {"fingerprint": fingerprint(row["what"], row["kind"], row["code"]), **row} for row in await health.parked(conn)
    ]


async def group(conn: asyncpg.Connection, name: str) -> dict[str, Any]:
    """The group of this fingerprint. Raises NotFound when nothing of it is parked."""
    for found in await groups(conn):
        if found["fingerprint"] == name:
            return found
    raise NotFound(f"Nothing parked has the fingerprint {name}.")


def check(found: Mapping[str, Any], answer_: str) -> None:
    """Raise BadInput for an answer that this sort of thing does not take."""
    allowed = ANSWERS[found["what"]]
    if answer_ not in allowed:
        raise Conflict(f"A parked {found['what']} takes: {', '.join(allowed)}.", code="bad_answer")


async def answer_all(pool: Pool, name: str, answer_: str, actor: Actor, *, at_ms: int) -> dict[str, Any]:
    """Answer everything of a fingerprint, a few hundred per transaction, each with its audit row.

    Returns ``{fingerprint, answer, done, refused}``; refused are those that changed meanwhile or take no such answer.
    """
    done, refused = 0, 0
    async with pool.acquire() as conn:
        found = await group(conn, name)
        check(found, answer_)
        for _ in range(ROUNDS_MAX):
            async with conn.transaction():
                part = await answer(conn, found["what"], found["kind"], found["code"], answer_, actor, at_ms=at_ms)
            done += part["done"]
            refused = part["refused"]
            if not part["more"] or not part["done"]:
                break
    return {"fingerprint": name, "answer": answer_, "done": done, "refused": refused}


async def answer(
    conn: asyncpg.Connection, what: str, kind: str, code: str, answer_: str, actor: Actor, *, at_ms: int
) -> dict[str, Any]:
    """Retry, ignore or discard everything of one fingerprint, ``AT_ONCE_MAX`` at a time. Commits nothing."""
    done, refused = 0, 0
    for found in await health.parked_ids(conn, what, kind, code, AT_ONCE_MAX):
        try:
            async with conn.transaction():
                await _one(conn, what, found, answer_, actor, at_ms)
            done += 1
        except CardrailError:
            refused += 1
    result = {"done": done, "refused": refused}
    target = f"{fingerprint(what, kind, code)} {what} {kind} {code}"
    await audit.note(conn, who=actor.who, action=f"parked.{answer_}", target=target, reason=actor.reason, result=result)
    return {**result, "more": done + refused == AT_ONCE_MAX}


async def _one(conn: asyncpg.Connection, what: str, found: str, answer_: str, actor: Actor, at_ms: int) -> None:
    match what, answer_:
        case "event", "retry":
            await requests.retry_event(conn, found)
        case "event", _:
            await requests.ignore_event(conn, found, by=actor.who, reason=actor.reason)
        case _, "retry":
            await requests.retry_command(conn, found, at_ms=at_ms)
        case _:
            await requests.discard_command(conn, found, by=actor.who, reason=actor.reason, at_ms=at_ms)
