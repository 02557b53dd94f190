"""One thing with all that belongs to it, as the API, the CLI and the console show it: read and put together here."""

from typing import Any

import asyncpg

from app.errors import NotFound
from app.log import redact
from app.store import decision_views, views
from app.web import decided, shown

CHAIN_MAX = 20
DECISIONS_MAX = 200


async def event(conn: asyncpg.Connection, row: views.Row, *, private: bool) -> dict[str, Any]:
    """Everything about one event."""
    account = row["account_id"]
    lines = await views.journal_of_event(conn, account, row["event_id"])
    caused = await views.caused_by_event(conn, account, row["event_id"])
    return {
        **shown.event(row),
        "kind": row["kind"],
        "payload": shown.payload(row, private=private),
        "payload_dropped": row["payload"] is None,
        "fetched": row["fetched"] if private else redact(row["fetched"]),
        "applied_at": row["applied_at"],
        "journal": [shown.journal_line(line) for line in lines],
        "chain": {"caused_by": await causes(conn, row), "caused": [shown.link(link) for link in caused]},
    }


async def causes(conn: asyncpg.Connection, row: views.Row) -> list[dict[str, Any]]:
    """The causes of an event, nearest first, through commands and handed-on events."""
    found: list[dict[str, Any]] = []
    origin, _, handed = row["event_id"].partition(":")
    cause = row["caused_by"] or (origin if handed else None)
    while cause is not None and len(found) < CHAIN_MAX and cause not in {link["id"] for link in found}:
        command = await views.command(conn, cause) if cause.startswith("cmd_") else None
        told = None if command is not None else await views.event(conn, cause)
        if command is not None:
            found.append(
                {
                    "what": "command",
                    "id": cause,
                    "type": command["kind"],
                    "status": command["status"],
                    "account": command["account_id"],
                }
            )
            cause = command["caused_by"]
        elif told is not None:
            found.append(
                {
                    "what": "event",
                    "id": cause,
                    "type": told["type"],
                    "status": told["status"],
                    "account": told["account_id"],
                }
            )
            cause = told["caused_by"]
        else:
            break
    return found


async def authorization(conn: asyncpg.Connection, authorization_id: str) -> dict[str, Any]:
    """Everything about one authorization that we were asked about."""
    rows = await decision_views.of_authorization(conn, authorization_id, DECISIONS_MAX)
    if not rows:
        raise NotFound(f"We were never asked about an authorization {authorization_id}.")
    thing = await views.object_of(conn, rows[0]["account_id"], authorization_id)
    return decided.authorization(rows, None if thing is None else thing["state"])
