"""Deliveries refused at the door: the signature doctor's food, kept in a ring of bounded size."""

from collections.abc import Mapping, Sequence

import msgspec

from app.store.db import Connection


class Rejection(msgspec.Struct, frozen=True):
    """Why one delivery was refused; ``detail`` holds numbers and hints, never a secret and never the body."""

    code: str
    detail: Mapping[str, object]


async def keep(conn: Connection, rows: Sequence[Rejection], *, kept_max: int) -> None:
    """Add ``rows`` and drop all but the newest ``kept_max``."""
    await conn.execute(
        "INSERT INTO rejections (code, detail) SELECT code, detail FROM unnest($1::text[], $2::jsonb[]) AS r (code, detail)",
        [row.code for row in rows],
        [row.detail for row in rows],
    )
    await conn.execute("DELETE FROM rejections WHERE id <= (SELECT max(id) FROM rejections) - $1::bigint", kept_max)
