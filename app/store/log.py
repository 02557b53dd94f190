"""Internal events: what we ourselves add to an account's log, in the transaction of whoever adds it."""

from collections.abc import Sequence

import msgspec

from app.machines.events import Happening
from app.store import sealed
from app.store.db import Connection


async def append(
    conn: Connection,
    *,
    account_id: str,
    event_id: str,
    source: str,
    type: str,  # noqa: A002 - Stripe's word for it
    happenings: Sequence[Happening],
    at_ms: int,
    caused_by: str | None = None,
    objects: Sequence[tuple[dict[str, object], int]] = (),
) -> bool:
    """Insert one internal event; True when it is new, False when the log already holds it. Commits nothing.

    ``objects`` are raw Stripe objects with the time of reading in milliseconds; they are kept beside the event.
    """
    payload = msgspec.json.encode(
        {"happenings": list(happenings), "objects": [{"object": raw, "at": at} for raw, at in objects]}
    )
    made = await conn.fetchval(
        """
        INSERT INTO events (account_id, event_id, source, type, kind, created, payload, caused_by, status)
        VALUES ($1, $2, $3, $4, 'internal', to_timestamp($5::float8 / 1000), $6, $7, 'pending')
        ON CONFLICT (account_id, event_id) DO UPDATE SET deliveries = events.deliveries + 1
        RETURNING (xmax = 0)
        """,
        account_id,
        event_id,
        source,
        type,
        at_ms,
        sealed.seal(conn, sealed.EVENTS, "payload", account_id, event_id, payload),
        caused_by,
    )
    return bool(made)
