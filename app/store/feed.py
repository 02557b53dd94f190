"""The stream of all journal lines: one order that no line can come to stand in after it was read past.

A line's place is (txid, account_id, seq), where ``txid`` is the transaction that wrote it. Transactions commit in any
order, so a reader takes only lines below the horizon: the lowest transaction that still runs. Every line below it has
been committed for good or never will be. Within one account places rise with ``seq``, since a fence lets one
transaction at a time write an account's lines.

The horizon is that of the whole server, so a transaction that stays open, even in another database, holds it back.
``far_horizon`` passes over those that cannot bring a line: transactions of other databases, and those older than
``OVERTAKEN_AFTER_S`` that have not begun to write the journal; ``states.write_journal`` refuses to begin that late.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from app.store.db import Connection

Row = Mapping[str, Any]

CHANNEL = "cardrail_journal"
OVERTAKEN_AFTER_S = 120.0
"""Twice the age at which a transaction may last begin to write the journal (``states.JOURNAL_WITHIN_S``)."""


class Place(NamedTuple):
    """Where a line stands; a reader that holds one goes on behind it."""

    txid: int
    account_id: str
    seq: int


class Blocker(NamedTuple):
    """The oldest transaction that holds the horizon back."""

    pid: int
    database: str | None
    application: str | None
    open_s: float


def place(row: Row) -> Place:
    return Place(row["txid"], row["account_id"], row["seq"])


async def horizon(conn: Connection) -> int:
    """Every line with a smaller txid can be seen from now on, if there will ever be one."""
    return int(await conn.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"))


async def ahead(conn: Connection, txid: int) -> bool:
    """Whether this server has not come to that transaction yet: the place is another database's."""
    return bool(await conn.fetchval("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint < $1", txid))


async def far_horizon(conn: Connection, *, overtaken_after_s: float = OVERTAKEN_AFTER_S) -> int:
    """The horizon, past transactions that can bring no line. It reads who runs, so ask only when lines are held up."""
    return int(
        await conn.fetchval(
            """
            WITH now_running AS MATERIALIZED (SELECT pg_current_snapshot() AS snapshot),
            harmless AS MATERIALIZED (
                SELECT a.backend_xid FROM pg_stat_activity a
                 WHERE a.backend_xid IS NOT NULL
                   AND (a.datname <> current_database()
                        OR (a.xact_start < clock_timestamp() - make_interval(secs => $1)
                            AND NOT EXISTS (SELECT 1 FROM pg_locks l
                                             WHERE l.pid = a.pid AND l.locktype = 'relation'
                                               AND l.relation = 'journal'::regclass AND l.mode = 'RowExclusiveLock')))
            )
            SELECT coalesce(
                (SELECT min(running::text::bigint) FROM now_running, pg_snapshot_xip(snapshot) AS running
                  WHERE running::xid NOT IN (SELECT backend_xid FROM harmless)),
                (SELECT pg_snapshot_xmax(snapshot)::text::bigint FROM now_running))
            """,
            overtaken_after_s,
        )
    )


async def blocker(conn: Connection) -> Blocker | None:
    """Who holds the horizon back, as far as our role may see."""
    row = await conn.fetchrow(
        """
        SELECT pid, datname, application_name, extract(epoch FROM clock_timestamp() - xact_start)::float8 AS open_s
          FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY age(backend_xid) DESC LIMIT 1
        """
    )
    return None if row is None else Blocker(*row)


async def lines(conn: Connection, after: Place, *, below: int, limit: int, upto: Place | None = None) -> list[Row]:
    """Lines behind ``after``, up to ``upto`` where given, of transactions ``below`` a horizon that was asked before."""
    last = upto or Place(below, "", 0)
    return list(
        await conn.fetch(
            """
            SELECT account_id, seq, machine, object_id, from_state, to_state, event_id, at, commands, note, txid
              FROM journal
             WHERE (txid, account_id, seq) > ($1, $2, $3) AND (txid, account_id, seq) <= ($4, $5, $6) AND txid < $7
             ORDER BY txid, account_id, seq LIMIT $8
            """,
            *after,
            *last,
            below,
            limit,
        )
    )


async def held_up_s(conn: Connection, below: int) -> float | None:
    """For how long the oldest committed line at or above the horizon has waited, seconds; None when none waits."""
    waited: float | None = await conn.fetchval(
        "SELECT extract(epoch FROM clock_timestamp() - at)::float8 FROM journal WHERE txid >= $1"
        " ORDER BY txid, account_id, seq LIMIT 1",
        below,
    )
    return waited


async def place_at(conn: Connection, since: datetime) -> Place:
    """The place before the first line written at ``since`` or later, and before whatever else its transaction wrote."""
    txid = await conn.fetchval("SELECT min(txid) FROM journal WHERE at >= $1", since)
    return Place(await horizon(conn) if txid is None else txid, "", 0)


async def notify(conn: Connection) -> None:
    """Wake the readers; in a transaction of its own and without waiting for the disk, as ``events.notify``."""
    await conn.execute("SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, '')", CHANNEL)
