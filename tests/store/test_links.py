"""Links are found from either side by an index, however many there are."""

from app.store import db, links


async def seeded(pool: db.Pool, count: int) -> None:
    """``count`` purchases of one card, among those of other accounts."""
    await pool.execute(
        """
        INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)
        SELECT 'acct_' || a, 'iauth_' || n, 'authorization', 'closed', '{}'::jsonb, now()
          FROM generate_series(1, 3) a, generate_series(1, $1) n
        UNION ALL SELECT 'acct_' || a, 'ic_1', 'card', 'active', '{}'::jsonb, now() FROM generate_series(1, 3) a
        """,
        count,
    )
    await pool.execute(
        "INSERT INTO links SELECT 'acct_' || a, 'iauth_' || n, 'ic_1' FROM generate_series(1, 3) a,"
        " generate_series(1, $1) n",
        count,
    )
    await pool.execute("ANALYZE links")
    await pool.execute("ANALYZE objects")


async def test_neighbours_are_found_from_both_sides_by_an_index(pool: db.Pool) -> None:
    await seeded(pool, 5_000)
    async with pool.acquire() as conn:
        (card,) = await links.neighbours(conn, "acct_1", ["iauth_7"], each_max=50)
        newest = await links.neighbours(conn, "acct_1", ["ic_1"], each_max=50)
        plan = "\n".join(
            row[0] for row in await conn.fetch(f"EXPLAIN {links.NEIGHBOURS}", "acct_1", ["ic_1", "iauth_7"], 50)
        )
    assert (card["object_id"], card["kind"]) == ("ic_1", "card")
    assert len(newest) == 50
    assert "Seq Scan" not in plan, plan


async def test_a_link_told_twice_is_one(pool: db.Pool) -> None:
    row = links.LinkRow("acct_1", "iauth_1", "ic_1")
    async with pool.acquire() as conn:
        await links.put(conn, [row])
        await links.put(conn, [row])
        assert await conn.fetchval("SELECT count(*) FROM links") == 1
