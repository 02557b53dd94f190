"""bookkeeper: reads the ledger entries behind transactions, of which Stripe sends no event.

After a transaction changed, the account's entries since the newest one known are listed (lists lag, so with an overlap)
and told to its log. Where they do not add up to their transactions yet, it looks again, ever more rarely. Entries also
tell of what moved money without an event of its own that names it: a currency conversion has none at all, and its
transaction does not say which it is; an adjustment's may be lost. Both are listed too when entries tell of one.
"""

from datetime import datetime, timedelta
from typing import Any

import structlog

from app.flow.retry import snooze_s
from app.ops.parts import Parts
from app.store import ledger, log, waiting
from app.store.db import Connection
from app.stripe.fields import at as deep
from app.stripe.objects import milliseconds

LOG = structlog.get_logger()

Raw = dict[str, Any]

ENTRIES = "/v2/money_management/transaction_entries"
LISTED = {
    "currency_conversion": "/v2/money_management/currency_conversions",
    "adjustment": "/v2/money_management/adjustments",
}
"""Flows that are listed by themselves when an entry tells of one; newest first, as far as ``LISTED_PAGES_MAX``."""
LISTED_PAGES_MAX = 5
ACCOUNTS_MAX = 32
LEASE_S = 60.0
OVERLAP = timedelta(minutes=10)
CHUNK_MAX = 200
AGAIN_S = 2.0


class Bookkeeper:
    """Schedule ``poll``; any number of processes may run it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def poll(self) -> bool:
        """Read the entries of a few accounts that are due. True when there were any."""
        async with self._parts.pool.acquire() as conn:
            rows = await ledger.claim(conn, limit=ACCOUNTS_MAX, lease_s=LEASE_S)
        for row in rows:
            try:
                await self._one(row)
            except TimeoutError as error:
                LOG.warning("bookkeeper.unread", account=row["account_id"], error=str(error))
                async with self._parts.pool.acquire() as conn:
                    await ledger.read(conn, row["account_id"], row["changed_at"], None, _again_s(row))
        return bool(rows)

    async def _one(self, row: ledger.Row) -> None:
        account, until = row["account_id"], row["until"]
        context = None if account == self._parts.platform_account else account
        query: dict[str, Any] = {}
        if until is not None:
            query["created"] = {"gte": (until - OVERLAP).isoformat(timespec="milliseconds").replace("+00:00", "Z")}
        at = self._parts.clock()
        found = _named(await self._parts.stripe.list_all(ENTRIES, query, context))
        flows = {str(deep(entry, "transaction_details", "flow", "type")) for entry in found}
        behind: list[Raw] = []
        for path in (path for flow, path in LISTED.items() if flow in flows):
            behind += _named(await self._parts.stripe.list_all(path, {}, context, page_max=LISTED_PAGES_MAX))
        async with self._parts.pool.acquire() as conn, conn.transaction():
            fresh = await _unknown(conn, account, [*found, *behind])
            for start in range(0, len(fresh), CHUNK_MAX):
                chunk = fresh[start : start + CHUNK_MAX]
                await log.append(
                    conn,
                    account_id=account,
                    event_id=f"entries_{chunk[0]['id']}",
                    source="poll",
                    type="entries.read",
                    happenings=(),
                    at_ms=at,
                    objects=[(entry, at) for entry in chunk],
                )
            newest = max((_created(e) for e in found), default=None)
            missing = bool(fresh) or await ledger.incomplete(conn, account) > 0
            again = _again_s(row) if missing else None
            await ledger.read(conn, account, row["changed_at"], newest, AGAIN_S if fresh else again)


def _again_s(row: ledger.Row) -> float:
    """What is not there, or could not be read, is looked for ever more rarely."""
    return snooze_s(AGAIN_S * 2 ** min(row["tries"], 12))


def _named(rows: list[Raw]) -> list[Raw]:
    return [row for row in rows if isinstance(row.get("id"), str)]


async def _unknown(conn: Connection, account: str, rows: list[Raw]) -> list[Raw]:
    known = {r["object_id"] for r in await waiting.objects_named(conn, account, [row["id"] for row in rows])}
    return [row for row in rows if row["id"] not in known]


def _created(entry: Raw) -> datetime:
    from_text = milliseconds(entry.get("created"), 0)
    return datetime.fromisoformat("1970-01-01T00:00:00+00:00") + timedelta(milliseconds=from_text)
