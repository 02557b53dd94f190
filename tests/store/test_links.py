"""Links are found from either side by an index, however many there are."""

from alembic.script import ScriptDirectory

from app.store import db, links, migrating


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


async def test_objects_from_before_are_linked_when_the_schema_comes(empty_dsn: str) -> None:
    scripts = ScriptDirectory.from_config(migrating.alembic_config()).walk_revisions()
    before = next(str(script.down_revision) for script in scripts if "name which" in str(script.doc))
    await migrating.migrate(empty_dsn, to=before)
    conn = await db.connect(empty_dsn)
    for object_id, data in (
        ("rd_1", {"card": "ic_1", "authorization": None, "transactions": ["ipi_1", "ipi_2"]}),
        ("trxn_1", {"flow": {"type": "received_debit", "received_debit": "rd_1"}, "transactions": "odd"}),
        ("acct_1", {"country": "MX", "card": ""}),
    ):
        await conn.execute(
            "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)"
            " VALUES ('acct_1', $1, 'kind', 'state', $2, now())",
            object_id,
            data,
        )
    await migrating.migrate(empty_dsn)
    found = {(row["object_id"], row["linked_id"]) for row in await conn.fetch("SELECT * FROM links")}
    await conn.close()
    assert found == {("rd_1", "ic_1"), ("rd_1", "ipi_1"), ("rd_1", "ipi_2"), ("trxn_1", "rd_1")}
