"""Which objects name which: written with the objects, found from either side by an index.

Links only grow; what an object names is in its own fields. Functions take a connection and never commit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from app.store.db import Connection

Row = Mapping[str, Any]

NEIGHBOURS = """
SELECT DISTINCT o.object_id, o.kind, o.state
FROM unnest($2::text[]) AS k (id), LATERAL (
     (SELECT linked_id AS id FROM links
       WHERE account_id = $1 AND object_id = k.id ORDER BY linked_id LIMIT $3)
     UNION ALL
     (SELECT object_id FROM links
       WHERE account_id = $1 AND linked_id = k.id ORDER BY object_id DESC LIMIT $3)) AS n
JOIN objects o ON o.account_id = $1 AND o.object_id = n.id
"""


class LinkRow(msgspec.Struct):
    """One object that names another."""

    account_id: str
    object_id: str
    linked_id: str


async def put(conn: Connection, rows: Sequence[LinkRow]) -> None:
    await conn.execute(
        """
        INSERT INTO links (account_id, object_id, linked_id)
        SELECT account_id, object_id, linked_id
          FROM unnest($1::text[], $2::text[], $3::text[]) AS n (account_id, object_id, linked_id)
        ON CONFLICT DO NOTHING
        """,
        [r.account_id for r in rows],
        [r.object_id for r in rows],
        [r.linked_id for r in rows],
    )


async def neighbours(conn: Connection, account_id: str, ids: Sequence[str], *, each_max: int) -> list[Row]:
    """Objects that name one of these, or that one of these names: at most ``each_max`` per id and direction."""
    return list(
        await conn.fetch(
            NEIGHBOURS,
            account_id,
            list(ids),
            each_max,
        )
    )


async def decisions(conn: Connection, account_id: str, authorizations: Sequence[str]) -> list[Row]:
    """What we decided on these authorizations."""
    return list(
        await conn.fetch(
            "SELECT authorization_id, request_event_id, approved, reason FROM decisions"
            " WHERE account_id = $1 AND authorization_id = ANY($2::text[]) ORDER BY decided_at",
            account_id,
            list(authorizations),
        )
    )
