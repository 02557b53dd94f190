"""Workers know how many they are: Stripe's rate is for all of them together."""

from app.store import heartbeats
from app.store.db import Pool


async def test_a_worker_hears_how_many_live(pool: Pool) -> None:
    async with pool.acquire() as conn:
        assert await heartbeats.beat(conn, "worker@a:1") == 1
        await conn.execute("INSERT INTO heartbeats (worker, at) VALUES ('worker@b:1', now() - interval '1 minute')")
        assert await heartbeats.beat(conn, "worker@a:1") == 1
        assert await heartbeats.beat(conn, "worker@b:1") == 2
