"""Subscriptions to notices: who wants to hear what, where, and up to which journal line that was looked at.

The cursor moves by compare-and-set in the transaction that writes the notices, so each line becomes a notice once,
however many processes look. A replay sets the cursor back. Signing secrets are sealed, and read by :func:`enabled` alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from app.store import sealed
from app.store.db import Connection
from app.store.feed import Place

Row = Mapping[str, Any]

_SHOWN = """
       id, url, description, types, accounts, secret_before_until, enabled, disabled_reason, failing_since,
       cursor_txid, cursor_account, cursor_seq, created_at, updated_at
"""
_ALL = f"SELECT {_SHOWN} FROM subscriptions"  # noqa: S608 - columns from above


async def count(conn: Connection) -> int:
    return int(await conn.fetchval("SELECT count(*) FROM subscriptions"))


async def every(conn: Connection, *, limit: int, after: str = "") -> list[Row]:
    """Subscriptions by id."""
    return list(await conn.fetch(f"{_ALL} WHERE id > $1 ORDER BY id LIMIT $2", after, limit))


async def enabled(conn: Connection) -> list[Row]:
    """Those that are delivered to, with ``secret`` and ``secret_before`` opened: empty where one does not open."""
    rows = await conn.fetch(
        f"SELECT secret, secret_before, {_SHOWN} FROM subscriptions WHERE enabled ORDER BY id"  # noqa: S608 - columns from above
    )
    return await sealed.opened(conn, sealed.SUBSCRIPTIONS, rows, lenient=True)


FAILING_S = 600
"""A receiver that restarts is not worth a word; the first repeat comes after seconds, the second after minutes."""


async def silent(conn: Connection, by_hand: str) -> list[Row]:
    """Those that hear nothing and should: disabled, though not ``by_hand``, or failing for some time."""
    return list(
        await conn.fetch(
            f"{_ALL} WHERE CASE WHEN enabled THEN failing_since < now() - make_interval(secs => $1)"
            " ELSE disabled_reason IS DISTINCT FROM $2 END ORDER BY id",
            FAILING_S,
            by_hand,
        )
    )


async def find(conn: Connection, subscription_id: str) -> Row | None:
    row: Row | None = await conn.fetchrow(f"{_ALL} WHERE id = $1", subscription_id)
    return row


async def insert(
    conn: Connection,
    *,
    subscription_id: str,
    url: str,
    description: str | None,
    types: Sequence[str],
    accounts: Sequence[str] | None,
    secret: str,
    cursor: Place,
) -> None:
    await conn.execute(
        """
        INSERT INTO subscriptions (id, url, description, types, accounts, secret, cursor_txid, cursor_account,
                                   cursor_seq)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        """,
        subscription_id,
        url,
        description,
        list(types),
        None if accounts is None else list(accounts),
        sealed.seal(conn, sealed.SUBSCRIPTIONS, "secret", subscription_id, subscription_id, secret.encode()),
        *cursor,
    )


async def change(
    conn: Connection,
    subscription_id: str,
    *,
    url: str,
    description: str | None,
    types: Sequence[str],
    accounts: Sequence[str] | None,
    enabled: bool,
    disabled_reason: str | None,
) -> None:
    """Write what a person may change; a subscription that is set to enabled counts its failures anew."""
    await conn.execute(
        """
        UPDATE subscriptions SET url = $2, description = $3, types = $4, accounts = $5, enabled = $6,
               disabled_reason = $7, failing_since = CASE WHEN $6 THEN NULL ELSE failing_since END, updated_at = now()
         WHERE id = $1
        """,
        subscription_id,
        url,
        description,
        list(types),
        None if accounts is None else list(accounts),
        enabled,
        disabled_reason,
    )


async def rotate(conn: Connection, subscription_id: str, secret: str, *, overlap_s: int) -> Row | None:
    """Sign with ``secret`` from now on, and for ``overlap_s`` with the one before too; needs a transaction.

    A sealed value opens only in its own column, so the one before is opened and sealed anew.
    """
    found = await conn.fetch("SELECT id, secret FROM subscriptions WHERE id = $1 FOR UPDATE", subscription_id)
    if not found:
        return None
    (old,) = await sealed.opened(conn, sealed.SUBSCRIPTIONS, found, lenient=True)
    fresh, before = (
        sealed.seal(conn, sealed.SUBSCRIPTIONS, column, subscription_id, subscription_id, value)
        for column, value in (("secret", secret.encode()), ("secret_before", bytes(old["secret"])))
    )
    row: Row | None = await conn.fetchrow(
        """
        UPDATE subscriptions SET secret = $2, secret_before = $3, updated_at = now(),
               secret_before_until = now() + make_interval(secs => $4)
         WHERE id = $1 RETURNING secret_before_until
        """,
        subscription_id,
        fresh,
        before,
        overlap_s,
    )
    return row


async def remove(conn: Connection, subscription_id: str) -> bool:
    """Delete it with all its notices; False when there is none."""
    await conn.execute("DELETE FROM notices WHERE subscription_id = $1", subscription_id)
    return bool(await conn.fetchval("DELETE FROM subscriptions WHERE id = $1 RETURNING true", subscription_id))


async def advance(conn: Connection, ids: Sequence[str], before: Place, after: Place) -> list[Row]:
    """Move these cursors from ``before`` to ``after``; the subscriptions whose cursor this moved."""
    return list(
        await conn.fetch(
            """
            UPDATE subscriptions SET cursor_txid = $5, cursor_account = $6, cursor_seq = $7
             WHERE id = ANY($1) AND enabled AND cursor_txid = $2 AND cursor_account = $3 AND cursor_seq = $4
            RETURNING id, types, accounts
            """,
            list(ids),
            *before,
            *after,
        )
    )


async def set_back(conn: Connection, subscription_id: str, cursor: Place) -> None:
    await conn.execute(
        "UPDATE subscriptions SET cursor_txid = $2, cursor_account = $3, cursor_seq = $4, updated_at = now()"
        " WHERE id = $1",
        subscription_id,
        *cursor,
    )


async def succeeded(conn: Connection, subscription_id: str) -> None:
    """Something got through."""
    await conn.execute(
        "UPDATE subscriptions SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL", subscription_id
    )


async def failed(conn: Connection, subscription_id: str, why: str, *, disable_after_s: float) -> bool:
    """Something did not get through; True when that disabled the subscription, because for long nothing has."""
    await conn.execute(
        "UPDATE subscriptions SET failing_since = now() WHERE id = $1 AND failing_since IS NULL", subscription_id
    )
    return bool(
        await conn.fetchval(
            """
            UPDATE subscriptions SET enabled = false, updated_at = now(),
                   disabled_reason = 'Nothing got through since '
                       || to_char(failing_since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || '. Last: ' || $2
             WHERE id = $1 AND enabled AND failing_since <= now() - make_interval(secs => $3) RETURNING true
            """,
            subscription_id,
            why,
            disable_after_s,
        )
    )


async def disable(conn: Connection, subscription_id: str, why: str) -> bool:
    """Stop delivering at once; False when it is stopped already."""
    return bool(
        await conn.fetchval(
            "UPDATE subscriptions SET enabled = false, disabled_reason = $2, updated_at = now()"
            " WHERE id = $1 AND enabled RETURNING true",
            subscription_id,
            why,
        )
    )
