"""What belongs together: the objects that an object names, those that name it, and the rest of the same purchase."""

from typing import Any

import asyncpg

from app.machines.links import FOLLOWED, PURCHASE
from app.store import links

EACH_MAX = 50
ROUNDS_MAX = 4
ALL_MAX = 200


async def linked(conn: asyncpg.Connection, account_id: str, object_id: str, kind: str) -> dict[str, Any]:
    """``{links: [{kind, id, state, href}], links_left_off}`` of one object, by kind and id.

    A purchase is followed through (authorization, captures, debits, credits, disputes, decisions); a card, a cardholder
    or a token is a crossing of many purchases, so nothing is followed beyond it, and only the newest are shown.
    """
    follow = kind in FOLLOWED
    found: dict[str, tuple[str, str]] = {}
    edge, left_off = [object_id], False
    for _ in range(ROUNDS_MAX):
        rows = await links.neighbours(conn, account_id, edge, each_max=EACH_MAX)
        new = {r["object_id"]: (r["kind"], r["state"]) for r in rows if r["object_id"] not in {object_id, *found}}
        left_off = left_off or len(rows) >= EACH_MAX
        found |= new
        edge = [i for i, (k, _) in new.items() if k in PURCHASE] if follow else []
        if not edge or len(found) >= ALL_MAX:
            break
    base = f"/v1/accounts/{account_id}/objects"
    shown = [{"kind": k, "id": i, "state": s, "href": f"{base}/{i}"} for i, (k, s) in found.items()]
    asked = [i for i, (k, _) in {object_id: (kind, ""), **found}.items() if k == "authorization"] if follow else []
    shown += await _decisions(conn, account_id, asked)
    shown.sort(key=lambda one: (one["kind"], one["id"]))
    return {"links": shown[:ALL_MAX], "links_left_off": left_off or len(shown) > ALL_MAX}


async def _decisions(conn: asyncpg.Connection, account_id: str, authorizations: list[str]) -> list[dict[str, str]]:
    found = []
    for row in await links.decisions(conn, account_id, authorizations) if authorizations else ():
        event = str(row["request_event_id"])
        state = "approved" if row["approved"] else "declined"
        found.append({"kind": "decision", "id": event, "state": state, "href": f"/v1/events/{event}"})
    return found
