"""The programmes that events were folded under, each once: a rebuild folds every event under the one of its day."""

from collections.abc import Mapping
from typing import Any

from app.store.db import Connection


async def keep(conn: Connection, fingerprint: str, body: Mapping[str, Any]) -> None:
    await conn.execute(
        "INSERT INTO programmes (fingerprint, body) VALUES ($1, $2) ON CONFLICT DO NOTHING", fingerprint, dict(body)
    )


async def every(conn: Connection) -> dict[str, Mapping[str, Any]]:
    """All of them by fingerprint: there are as many as the policy had changes."""
    return {row["fingerprint"]: row["body"] for row in await conn.fetch("SELECT fingerprint, body FROM programmes")}
