"""What an administrator asks of the platform itself: an address where money comes in, and pulls from its bank.

Functions take a connection inside the caller's transaction and never commit; they return what a 202 shows.
"""

import hashlib
from typing import Any

import asyncpg

from app.machines.events import Json
from app.ops import requests
from app.store import views

DEAD = ("failed", "archived")
ATTEMPTS_MAX = 100


async def address(conn: asyncpg.Connection, platform: str, params: Json, *, at_ms: int) -> dict[str, Any]:
    """Ask for an address. One that is asked for, pending or active is not asked for again: the answer names it.

    Another follows only when the one before was refused, failed or was archived.
    """
    wanted = "|".join(str(params.get(name) or "") for name in ("type", "currency", "country", "network"))
    for attempt in range(1, ATTEMPTS_MAX):
        made = "req_" + hashlib.sha256(f"{platform}|address|{wanted}|{attempt}".encode()).hexdigest()[:24]
        row = await views.object_of(conn, platform, made)
        if row is None:
            return await requests.ask(conn, platform, made, "create_financial_address", params, at_ms=at_ms)
        found = await _made(conn, platform, row)
        if row["state"] != "rejected" and (found is None or found["state"] not in DEAD):
            return {"id": made, "state": row["state"], "href": requests.href(platform, made)}
    raise AssertionError


async def _made(conn: asyncpg.Connection, platform: str, request: requests.Row) -> requests.Row | None:
    object_id = (views.parsed(request["data"]) or {}).get("object_id")
    return await views.object_of(conn, platform, object_id) if isinstance(object_id, str) else None


async def pull(conn: asyncpg.Connection, platform: str, params: Json, *, at_ms: int) -> dict[str, Any]:
    """Ask for an inbound transfer from a bank account of the platform's own."""
    return await requests.ask(conn, platform, requests.new_id(), "create_inbound_transfer", params, at_ms=at_ms)
