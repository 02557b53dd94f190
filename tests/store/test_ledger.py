"""Which transactions lack entries is told right, and in one pass however many there are."""

from typing import Any

import orjson

from app.store import ledger
from app.store.db import Connection, Pool

_OBJECT = "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at) VALUES ('acct_1', $1, $2, $3, $4, now())"


async def put(conn: Connection, name: str, kind: str, value: int | None, **more: Any) -> None:
    impact = {"available": {"value": value, "currency": "usdc"}} if value is not None else {}
    await conn.execute(_OBJECT, name, kind, "posted", {"balance_impact": impact, **more})


async def test_a_transaction_is_whole_when_its_entries_add_up(pool: Pool) -> None:
    async with pool.acquire() as conn:
        for name, value in (("trxn_whole", -5), ("trxn_void", 0), ("trxn_half", -5), ("trxn_none", 7)):
            await put(conn, name, "transaction", value)
        for name, value in (("whole", -9), ("whole", 4), ("half", -3), ("elsewhere", 1)):
            await put(conn, f"trxne_{name}_{value}", "transaction_entry", value, transaction=f"trxn_{name}")
        assert await ledger.incomplete(conn, "acct_1") == 2
        assert await ledger.incomplete(conn, "acct_2") == 0


async def test_no_row_is_read_more_than_once(pool: Pool) -> None:
    async with pool.acquire() as conn:
        text = await conn.fetchval(f"EXPLAIN (FORMAT JSON) {ledger.INCOMPLETE}", "acct_1")
    kinds = {node["Node Type"] for node in walk((orjson.loads(text) if isinstance(text, str) else text)[0]["Plan"])}
    assert not {kind for kind in kinds if "Loop" in kind or "Join" in kind}


def walk(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *(below for child in node.get("Plans", ()) for below in walk(child))]
