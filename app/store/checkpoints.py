"""The state of an account as of one event of its log: where a rebuild starts once older bodies are gone."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.store.db import Connection
from app.store.states import ObjectRow

Row = Mapping[str, Any]


async def find(conn: Connection, account_id: str) -> Row | None:
    row: Row | None = await conn.fetchrow(
        "SELECT applied_seq, seq, facts FROM checkpoints WHERE account_id = $1", account_id
    )
    return row


async def lock(conn: Connection, account_id: str) -> Row:
    """The checkpoint, made empty when there is none, against another who moves it, until the transaction ends."""
    await conn.execute("INSERT INTO checkpoints (account_id) VALUES ($1) ON CONFLICT DO NOTHING", account_id)
    row: Row = await conn.fetchrow(
        "SELECT applied_seq, seq, facts FROM checkpoints WHERE account_id = $1 FOR UPDATE", account_id
    )
    return row


async def objects(conn: Connection, account_id: str, object_ids: Sequence[str] | None = None) -> list[Row]:
    """The objects as they stood then; only those named, if any are."""
    return list(
        await conn.fetch(
            "SELECT object_id, kind, state, data, observed_at, version FROM checkpoint_objects"
            " WHERE account_id = $1 AND ($2::text[] IS NULL OR object_id = ANY($2))",
            account_id,
            None if object_ids is None else list(object_ids),
        )
    )


async def move(conn: Connection, account_id: str, *, applied_seq: int, facts: bytes, event_ids: Sequence[str]) -> None:
    """Move the checkpoint on to an event; ``event_ids`` are those it went over."""
    await conn.execute(
        """
        UPDATE checkpoints
           SET applied_seq = $2, facts = $3::text::jsonb, updated_at = now(),
               seq = greatest(seq, (SELECT max(seq) FROM journal WHERE account_id = $1 AND event_id = ANY($4::text[])))
         WHERE account_id = $1
        """,
        account_id,
        applied_seq,
        facts.decode(),
        list(event_ids),
    )


async def put_objects(conn: Connection, rows: Sequence[ObjectRow]) -> None:
    await conn.execute(
        """
        INSERT INTO checkpoint_objects (account_id, object_id, kind, state, data, observed_at, version)
        SELECT account_id, object_id, kind, state, data::jsonb, observed_at, version
          FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::bigint[])
               AS n (account_id, object_id, kind, state, data, observed_at, version)
        ON CONFLICT (account_id, object_id) DO UPDATE
           SET state = excluded.state, data = excluded.data, observed_at = excluded.observed_at,
               version = excluded.version
        """,
        [r.account_id for r in rows],
        [r.object_id for r in rows],
        [r.kind for r in rows],
        [r.state for r in rows],
        [r.data.decode() for r in rows],
        [r.observed_at for r in rows],
        [r.version for r in rows],
    )
