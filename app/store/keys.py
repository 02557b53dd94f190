"""API keys: only a SHA-256 of each is kept (the keys have 190 random bits, so no salt is needed); a prefix stays visible."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg

Row = Mapping[str, Any]

SCOPES = ("read", "operate", "admin")
LAST_USE_EVERY_S = 60
"""The last use of a key is written at most this often."""


def new_key() -> str:
    return f"ck_{secrets.token_hex(24)}"


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


async def create(
    conn: asyncpg.Connection, *, name: str, scope: str, expires_at: datetime | None = None
) -> tuple[Row, str]:
    """Make a key; returns its row and the key itself, which is shown once and never again."""
    key = new_key()
    row: Row = await conn.fetchrow(
        "INSERT INTO api_keys (id, name, prefix, hash, scope, expires_at) VALUES ($1, $2, $3, $4, $5, $6)"
        " RETURNING id, name, prefix, scope, created_at, expires_at, revoked_at, last_used_at",
        f"key_{secrets.token_hex(8)}",
        name,
        key[:11],
        digest(key),
        scope,
        expires_at,
    )
    return row, key


async def find(conn: asyncpg.Connection, key: str) -> Row | None:
    """The valid key, or None when it is unknown, revoked or expired."""
    row: Row | None = await conn.fetchrow(
        "SELECT id, name, prefix, scope, created_at, expires_at, revoked_at, last_used_at"
        " FROM api_keys WHERE hash = $1 AND revoked_at IS NULL"
        " AND (expires_at IS NULL OR expires_at > now())",
        digest(key),
    )
    return row


async def touch(conn: asyncpg.Connection, key_id: str) -> None:
    """Note that the key was used, unless that was noted a moment ago."""
    await conn.execute(
        "UPDATE api_keys SET last_used_at = now()"
        " WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - make_interval(secs => $2))",
        key_id,
        LAST_USE_EVERY_S,
    )


async def every(conn: asyncpg.Connection) -> list[Row]:
    return list(
        await conn.fetch(
            "SELECT id, name, prefix, scope, created_at, expires_at, revoked_at, last_used_at"
            " FROM api_keys ORDER BY created_at, id"
        )
    )


async def revoke(conn: asyncpg.Connection, key_id: str) -> Row | None:
    """Revoke for good; None when there is no such key. Revoking twice keeps the first time."""
    row: Row | None = await conn.fetchrow(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1"
        " RETURNING id, name, prefix, scope, created_at, expires_at, revoked_at, last_used_at",
        key_id,
    )
    return row
