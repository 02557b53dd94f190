"""Every query of the hot paths, with its own SQL, on seeded tables: by an index, and without reading or sorting what grows.

The queries are not copied: the store's functions run on a connection that asks for the plan of whatever they send.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import pytest
import pytest_asyncio

from app.machines.programme import Authorization
from app.machines.purchase import Request
from app.sealing import Keys, parse_keys
from app.store import (
    chains,
    db,
    decision_facts,
    decision_views,
    decisions,
    embedded,
    feed,
    notices,
    outbox,
    states,
    subscriptions,
    views,
)
from app.store.feed import Place
from tests.conftest import cloned

GROWING = frozenset({"accounts", "events", "objects", "journal", "outbox", "decisions", "notices"})
ROWS_MAX = 1_000
"""More rows than this are neither sorted nor looked at in vain: what a claim or a page takes at most."""
HEAVY = "acct_00000"
ACCOUNTS = 2_000
NOW = datetime.now(UTC)

_SEED = (
    f"""
    INSERT INTO accounts (account_id, state, enrolled, country, facts)
    SELECT 'acct_' || lpad(i::text, 5, '0'), (ARRAY['live', 'live', 'funding', 'closed'])[1 + i % 4], true, 'MX', '{{}}'
      FROM generate_series(0, {ACCOUNTS - 1}) i
    """,
    f"""
    INSERT INTO events (account_id, event_id, source, type, kind, created, received_at, status, due_at, caused_by,
                        applied_seq)
    SELECT CASE WHEN i % 5 = 0 THEN '{HEAVY}' ELSE 'acct_' || lpad((i % {ACCOUNTS})::text, 5, '0') END,
           'evt_' || md5(i::text), (ARRAY['webhook', 'response', 'poll'])[1 + i % 3], 'issuing_card.updated', 'snapshot',
           now() - i * interval '1 s', now() - i * interval '1 s',
           CASE WHEN i % 500 = 1 THEN 'pending' WHEN i % 1000 = 2 THEN 'parked' ELSE 'applied' END,
           now() - i * interval '1 s', CASE WHEN i % 3 = 1 THEN 'cmd_' || md5(i::text) END, i
      FROM generate_series(1, 50000) i
    """,
    f"""
    INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)
    SELECT CASE WHEN i % 5 = 0 THEN '{HEAVY}' ELSE 'acct_' || lpad((i % {ACCOUNTS})::text, 5, '0') END, 'ic_' || i,
           (ARRAY['card', 'authorization', 'dispute', 'cardholder'])[1 + i % 4], 'active', '{{}}', now()
      FROM generate_series(1, 20000) i
    """,
    f"""
    INSERT INTO journal (account_id, seq, machine, object_id, to_state, event_id, at, txid)
    SELECT CASE WHEN i % 5 = 0 THEN '{HEAVY}' ELSE 'acct_' || lpad((i % {ACCOUNTS})::text, 5, '0') END, i, 'card',
           'ic_1', 'active', 'evt_' || md5(i::text), now() - (50001 - i) * interval '1 s', i
      FROM generate_series(1, 50000) i
    """,
    f"""
    INSERT INTO outbox (account_id, command_id, kind, intent, idempotency_key, params, amount, status, due_at, caused_by,
                        first_call_at, created_at, error)
    SELECT CASE WHEN i % 5 = 0 THEN '{HEAVY}' ELSE 'acct_' || lpad((i % {ACCOUNTS})::text, 5, '0') END,
           'cmd_' || md5(i::text), 'create_card', 'card/' || i, 'key_' || i, '\\x007b7d', 100,
           CASE WHEN i % 200 = 1 THEN 'pending' WHEN i % 1000 = 2 THEN 'parked' ELSE 'settled' END,
           now() - i * interval '1 s', 'evt_' || md5(i::text), now() - i * interval '1 min', now() - i * interval '1 min',
           CASE WHEN i % 1000 = 2 THEN '{{"code": "x"}}'::jsonb END
      FROM generate_series(1, 20000) i
    """,
    f"""
    INSERT INTO decisions (account_id, authorization_id, request_event_id, card_id, approved, reason, amount, currency,
                           requested, took_us, decided_at)
    SELECT CASE WHEN i % 5 = 0 THEN '{HEAVY}' ELSE 'acct_' || lpad((i % {ACCOUNTS})::text, 5, '0') END, 'iauth_' || i,
           'evt_' || md5(i::text), 'ic_1', i % 2 = 0, (ARRAY['approved', 'velocity'])[1 + i % 2], 100, 'usd', 100, 900,
           now() - i * interval '1 min'
      FROM generate_series(1, 20000) i
    """,
    """
    INSERT INTO subscriptions (id, url, types, secret, cursor_txid, cursor_account, cursor_seq)
    SELECT 'sub_' || i, 'https://example.com', '{*}', 'whsec_', 0, '', 0 FROM generate_series(1, 3) i
    """,
    f"""
    INSERT INTO notices (account_id, notice_id, subscription_id, type, body, status, created_at)
    SELECT 'acct_' || lpad((i % {ACCOUNTS})::text, 5, '0'), 'msg_' || md5(i::text), 'sub_' || (1 + i % 3), 'x', '{{}}',
           CASE WHEN i % 100 = 1 THEN 'pending' ELSE 'delivered' END, now() - i * interval '1 s'
      FROM generate_series(1, 20000) i
    """,
    "VACUUM ANALYZE",
)


class Watched(asyncpg.Connection):  # type: ignore[misc]  # asyncpg brings no types
    """A connection that keeps the plan of every query it runs."""

    keys = Keys(parse_keys(()))
    __slots__ = ("plans",)

    async def _plan(self, query: str, args: tuple[Any, ...]) -> None:
        tried = self.transaction()
        await tried.start()
        found = await super().fetchval(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {query}", *args)
        await tried.rollback()
        self.plans.append((query, orjson.loads(found)[0]["Plan"]))

    async def fetch(self, query: str, *args: Any, **more: Any) -> Any:
        await self._plan(query, args)
        return await super().fetch(query, *args, **more)

    async def fetchrow(self, query: str, *args: Any, **more: Any) -> Any:
        await self._plan(query, args)
        return await super().fetchrow(query, *args, **more)

    async def fetchval(self, query: str, *args: Any, **more: Any) -> Any:
        await self._plan(query, args)
        return await super().fetchval(query, *args, **more)

    async def execute(self, query: str, *args: Any, **more: Any) -> Any:
        if args:
            await self._plan(query, args)
        return await super().execute(query, *args, **more)


@pytest_asyncio.fixture(scope="module")
async def seeded(postgres: embedded.Embedded, admin: db.Connection, template: str) -> AsyncIterator[str]:
    """A database with tens of thousands of rows, as it looks after a while; tests leave it as it is."""
    await admin.execute(cloned("plans", template))
    conn = await db.connect(postgres.dsn("plans"))
    for statement in _SEED:
        await conn.execute(statement)
    await conn.close()
    yield postgres.dsn("plans")
    await admin.execute("DROP DATABASE plans WITH (FORCE)")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def _fed(node: dict[str, Any]) -> float:
    return float(max(child["Actual Rows"] for child in node["Plans"]))


def wrong(plan: dict[str, Any]) -> list[str]:
    """What a plan does that grows with the tables."""
    found = []
    for node in nodes(plan):
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in GROWING:
            found.append(f"reads all of {node['Relation Name']}")
        if node["Node Type"] == "Sort" and _fed(node) > ROWS_MAX:
            found.append(f"sorts {_fed(node):.0f} rows")
        dropped = (node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)) * node[
            "Actual Loops"
        ]
        if dropped > ROWS_MAX:
            found.append(f"looks at {dropped:.0f} rows of {node.get('Relation Name')} in vain")
    return found


Query = Callable[[Any], Awaitable[object]]
EVENT, COMMAND = "evt_0", "cmd_0"
DEEP = NOW.replace(year=NOW.year - 1).isoformat()
REQUEST = Request(authorization="iauth_1", card="ic_1", amount=100, currency="usd")
LINE = states.LineRow(HEAVY, 10**6, "card", "ic_1", None, "active", EVENT, b"[]", None)

HOT: dict[str, Query] = {
    "apply: claim accounts": lambda c: states.claim(c, token=uuid4(), after="acct_01", accounts_max=64, lease_s=15),
    "apply: pending events": lambda c: states.pending(c, [HEAVY, "acct_00001", "acct_00002"], per_account_max=200),
    "apply: accounts": lambda c: states.load_accounts(c, [HEAVY, "acct_00001"]),
    "apply: objects": lambda c: states.load_objects(c, [(HEAVY, "ic_5"), ("acct_00001", "ic_1")]),
    "apply: decided": lambda c: states.decided(c, [(HEAVY, "iauth_5")]),
    "apply: write journal": lambda c: states.write_journal(c, [LINE]),
    "deliver: claim": lambda c: outbox.claim(c, token=uuid4(), commands_max=32, lease_s=30),
    "deliver: stopped": lambda c: outbox.stopped_by(c, HEAVY, "create_card"),
    "deliver: moved today": lambda c: outbox.moved_today(c, HEAVY),
    "authorize: facts": lambda c: decision_facts.read(
        c, [("acct_00001", REQUEST)], Authorization(), int(NOW.timestamp() * 1000)
    ),
    "authorize: decided since": lambda c: decisions.decided_since(c, HEAVY, "iauth_5", EVENT),
    "stream: lines": lambda c: feed.lines(c, Place(49_000, HEAVY, 0), below=49_900, limit=500),
    "stream: lines up to a place": lambda c: feed.lines(
        c, Place(100, HEAVY, 0), below=201, limit=500, upto=Place(200, HEAVY, 5)
    ),
    "stream: held up": lambda c: feed.held_up_s(c, 49_990),
    "notify: claim": lambda c: notices.claim(c, token=uuid4(), free={"sub_1": 8, "sub_2": 8}, lease_s=30),
    "notify: advance": lambda c: subscriptions.advance(c, ["sub_1"], Place(0, "", 0), Place(1, "a", 1)),
    "notify: hurry": lambda c: notices.hurry(c, "sub_1"),
    "read: account": lambda c: views.account(c, HEAVY),
    "read: account's state": lambda c: views.account_state(c, HEAVY),
    "read: account's standing": lambda c: views.account_standing(c, HEAVY),
    "read: event": lambda c: views.event(c, EVENT),
    "read: event of account": lambda c: views.event(c, EVENT, HEAVY),
    "read: journal of event": lambda c: views.journal_of_event(c, HEAVY, EVENT),
    "read: command": lambda c: views.command(c, COMMAND),
    "read: object": lambda c: views.object_of(c, HEAVY, "ic_5"),
    "read: request": lambda c: views.request_event(c, HEAVY, EVENT),
    "read: authorization": lambda c: decision_views.of_authorization(c, "iauth_5", 50),
    "read: delivery": lambda c: notices.find(c, "sub_1", "msg_0"),
    "read: chain": lambda c: chains.events(c, HEAVY, [EVENT]),
    "read: caused by a chain": lambda c: chains.caused(c, "acct_00001", [EVENT, COMMAND]),
    "read: caused by an event": lambda c: views.caused_by_event(c, "acct_00001", EVENT),
    "list: accounts": lambda c: views.accounts(c, platform="acct_p", limit=51),
    "list: accounts, deep": lambda c: views.accounts(c, platform="acct_p", limit=51, after=["acct_01500"]),
    "list: accounts in a state": lambda c: views.accounts(c, platform="acct_p", limit=51, state="live"),
    "list: events": lambda c: views.events(c, limit=51),
    "list: events, deep": lambda c: views.events(c, limit=51, after=[DEEP, EVENT, HEAVY]),
    "list: parked events": lambda c: views.events(c, limit=51, status="parked"),
    "list: commands": lambda c: views.commands(c, limit=51),
    "list: commands, deep": lambda c: views.commands(c, limit=51, after=[DEEP, HEAVY, COMMAND]),
    "list: authorizations": lambda c: decision_views.decisions(c, limit=51),
    "list: authorizations, deep": lambda c: decision_views.decisions(c, limit=51, after=[DEEP, EVENT, HEAVY]),
    "list: authorizations of an account": lambda c: decision_views.decisions(c, limit=51, account="acct_00001"),
    "list: journal": lambda c: views.journal(c, HEAVY, limit=51),
    "list: journal, deep": lambda c: views.journal(c, HEAVY, limit=51, after=[49_000]),
    "list: objects": lambda c: views.objects(c, HEAVY, limit=51),
    "list: objects, deep": lambda c: views.objects(c, HEAVY, limit=51, after=["ic_9"]),
    "list: objects of a kind": lambda c: views.objects(c, HEAVY, limit=51, kind="card"),
    "list: deliveries": lambda c: notices.newest(c, "sub_1", limit=51),
    "list: deliveries, deep": lambda c: notices.newest(c, "sub_1", limit=51, after=[DEEP, "msg_0"]),
}


async def plans_of(dsn: str, query: Query) -> list[tuple[str, dict[str, Any]]]:
    conn = await asyncpg.connect(dsn, connection_class=Watched)
    conn.plans = []
    await db._speak_json(conn)
    transaction = conn.transaction()
    await transaction.start()
    await query(conn)
    await transaction.rollback()
    await conn.close()
    found: list[tuple[str, dict[str, Any]]] = conn.plans
    return found


@pytest.mark.parametrize("name", HOT)
async def test_a_query_of_the_hot_paths_reads_by_index_and_sorts_nothing_that_grows(seeded: str, name: str) -> None:
    plans = await plans_of(seeded, HOT[name])
    assert plans
    assert [fault for _, plan in plans for fault in wrong(plan)] == []


async def test_what_reads_or_sorts_everything_is_found(seeded: str) -> None:
    [(_, plan)] = await plans_of(seeded, lambda c: c.fetch("SELECT * FROM events ORDER BY created"))
    assert wrong(plan) == ["sorts 50000 rows", "reads all of events"]
