"""What the doctor and the parked desk look at: counts and ages, read without a lock."""

from collections.abc import Mapping
from typing import Any

from app.store import outbox
from app.store.db import Connection

Row = Mapping[str, Any]

_FINGERPRINTS = """
SELECT * FROM (
    SELECT 'event' AS what, type AS kind, coalesce(error->>'code', 'unknown') AS code, count(*) AS count,
           min(received_at) AS oldest, max(error->>'message') AS message, min(event_id) AS example
      FROM events WHERE status = 'parked' GROUP BY 2, 3
    UNION ALL
    SELECT 'command', kind, coalesce(error->>'code', 'unknown'), count(*), min(updated_at), max(error->>'message'),
           min(command_id)
      FROM outbox WHERE status = 'parked' GROUP BY 2, 3
) AS parked ORDER BY count DESC, what, kind, code
"""


async def parked(conn: Connection) -> list[Row]:
    """Parked events and commands by fingerprint: what, which kind, which code."""
    return list(await conn.fetch(_FINGERPRINTS))


async def parked_ids(conn: Connection, what: str, kind: str, code: str, limit: int) -> list[str]:
    """The parked things of one fingerprint, oldest first."""
    if what == "event":
        query = (
            "SELECT event_id AS id FROM events WHERE status = 'parked' AND type = $1"
            " AND coalesce(error->>'code', 'unknown') = $2 ORDER BY received_at LIMIT $3"
        )
    else:
        query = (
            "SELECT command_id AS id FROM outbox WHERE status = 'parked' AND kind = $1"
            " AND coalesce(error->>'code', 'unknown') = $2 ORDER BY updated_at LIMIT $3"
        )
    return [row["id"] for row in await conn.fetch(query, kind, code, limit)]


async def refused_steps(conn: Connection, steps: Mapping[str, str]) -> list[Row]:
    """Accounts that stand because the newest command of their step was refused for good: ``{kind, code, count, oldest,
    example}`` by kind and code. ``steps``: the kind of command that leads on from each state.
    """
    return list(
        await conn.fetch(
            """
            SELECT o.kind, coalesce(o.error->>'code', 'unknown') AS code, count(*) AS count,
                   min(o.updated_at) AS oldest, min(a.account_id) AS example
              FROM accounts a JOIN unnest($1::text[], $2::text[]) AS s (state, kind) ON s.state = a.state
              JOIN LATERAL (SELECT kind, status, error, updated_at FROM outbox
                             WHERE account_id = a.account_id AND kind = s.kind
                             ORDER BY created_at DESC LIMIT 1) o ON o.status = 'rejected'
             WHERE a.enrolled GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
            """,
            list(steps),
            list(steps.values()),
        )
    )


async def rejections(conn: Connection, hours: int) -> list[Row]:
    """Deliveries refused at the door in the last hours, by code and cause, with the newest detail and the range of skew."""
    return list(
        await conn.fetch(
            """
            SELECT code, detail->>'cause' AS cause, count(*) AS count, max(at) AS newest,
                   (array_agg(detail ORDER BY at DESC))[1] AS detail,
                   min((detail->>'skew_s')::float8) AS skew_from, max((detail->>'skew_s')::float8) AS skew_to
              FROM rejections WHERE at > now() - make_interval(hours => $1)
             GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT 50
            """,
            hours,
        )
    )


async def backlog(conn: Connection) -> Row:
    """Due events and commands, and for how long the oldest has been due; ``kept_back`` are commands that a hold or a brake
    stops, which are no backlog.
    """
    row: Row = await conn.fetchrow(
        f"""
        SELECT e.count AS events, e.age AS events_age_s, o.count AS commands, o.age AS commands_age_s, o.kept_back
          FROM (SELECT count(*), coalesce(extract(epoch FROM now() - min(due_at)), 0)::float8 AS age FROM events
                 WHERE status = 'pending' AND due_at <= now()) AS e,
               (SELECT count(*) FILTER (WHERE free), count(*) FILTER (WHERE NOT free) AS kept_back,
                       coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE free)), 0)::float8 AS age
                  FROM (SELECT o.due_at, {outbox.FREE} AS free FROM outbox o
                         WHERE o.status IN ('pending', 'in_flight', 'unknown') AND o.due_at <= now()) AS due) AS o
        """  # noqa: S608 - a condition of ours
    )
    return row


async def standing(conn: Connection, platform: str) -> list[Row]:
    """How many accounts are in each state, and how many of those are held; without the platform's own."""
    return list(
        await conn.fetch(
            "SELECT state, count(*) AS count, count(hold) AS held FROM accounts WHERE account_id <> $1 GROUP BY state",
            platform,
        )
    )


async def ignored_types(conn: Connection, days: int) -> list[Row]:
    """Types of events that had no effect, with how many there were; ``other_mode`` of them no worker ever saw, because the
    door keeps those of the other mode apart.
    """
    return list(
        await conn.fetch(
            "SELECT type, count(*) AS count, count(*) FILTER (WHERE applied_seq IS NULL AND error IS NULL) AS other_mode"
            " FROM events WHERE status = 'ignored' AND kind <> 'internal'"
            " AND received_at > now() - make_interval(days => $1) GROUP BY type ORDER BY 2 DESC LIMIT 200",
            days,
        )
    )


async def clock_s(conn: Connection) -> float:
    """The database's clock, seconds since the epoch."""
    return float(await conn.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8"))


async def collation(conn: Connection) -> tuple[str, str, str] | None:
    """Database, the version of the collation its indexes were built with, and the server's; None when they agree."""
    row = await conn.fetchrow(
        """
        SELECT datname, datcollversion, pg_database_collation_actual_version(oid) AS actual FROM pg_database
         WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)
        """
    )
    return None if row is None else (row["datname"], row["datcollversion"], row["actual"])
