"""Sessions of the console that were ended by logging out, until they would have ended by themselves."""

from datetime import datetime

from app.store.db import Connection


async def add(conn: Connection, digest: bytes, until: datetime) -> None:
    """Note the end of one, and forget those that are over anyway."""
    await conn.execute("DELETE FROM ended_sessions WHERE until < now()")
    await conn.execute(
        "INSERT INTO ended_sessions (digest, until) VALUES ($1, $2) ON CONFLICT DO NOTHING", digest, until
    )


async def has(conn: Connection, digest: bytes) -> bool:
    """Whether it was ended."""
    return bool(await conn.fetchval("SELECT EXISTS (SELECT FROM ended_sessions WHERE digest = $1)", digest))
