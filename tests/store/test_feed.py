"""The stream of all lines: nothing is read past that may still come, and who can bring nothing holds nobody up."""

import pytest

from app.store import db, embedded, feed, states
from app.store.feed import Place

START = Place(0, "", 0)


def line(seq: int, account: str = "acct_1") -> states.LineRow:
    return states.LineRow(account, seq, "card", "ic_1", None, "active", "evt_1", b"[]", None)


async def seen(pool: db.Pool, after: Place = START, *, far: bool = False, overtaken_after_s: float = 120) -> list[int]:
    """Sequence numbers that a reader takes."""
    async with pool.acquire() as conn:
        below = await feed.far_horizon(conn, overtaken_after_s=overtaken_after_s) if far else await feed.horizon(conn)
        return [row["seq"] for row in await feed.lines(conn, after, below=below, limit=100)]


async def test_a_line_waits_for_older_transactions_and_comes_in_their_order(pool: db.Pool) -> None:
    async with pool.acquire() as older, pool.acquire() as younger:
        late = older.transaction()
        await late.start()
        await older.execute("SELECT pg_current_xact_id()")
        await states.write_journal(younger, [line(2)])
        assert await seen(pool) == []
        assert await feed.held_up_s(younger, await feed.horizon(younger)) is not None
        await states.write_journal(older, [line(1)])
        await late.commit()
    assert await seen(pool) == [1, 2]


async def test_a_transaction_of_another_database_holds_nothing_up_for_long(
    pool: db.Pool, postgres: embedded.Embedded
) -> None:
    elsewhere = await db.connect(postgres.dsn("postgres"), name="somebody")
    async with elsewhere.transaction():
        await elsewhere.execute("SELECT pg_current_xact_id()")
        async with pool.acquire() as conn:
            await states.write_journal(conn, [line(1)])
            blocker = await feed.blocker(conn)
        assert await seen(pool) == []
        assert await seen(pool, far=True) == [1]
        assert blocker is not None
        assert (blocker.database, blocker.application) == ("postgres", "somebody")
    await elsewhere.close()


async def test_an_old_transaction_is_passed_unless_it_has_begun_to_write_lines(pool: db.Pool) -> None:
    async with pool.acquire() as idle, pool.acquire() as writer:
        async with idle.transaction():
            await idle.execute("SELECT pg_current_xact_id()")
            await states.write_journal(writer, [line(1)])
            assert await seen(pool, far=True) == []
            assert await seen(pool, far=True, overtaken_after_s=0) == [1]
        async with idle.transaction():
            await states.write_journal(idle, [line(2)])
            await states.write_journal(writer, [line(1, "acct_2")])
            assert await seen(pool, far=True, overtaken_after_s=0) == [1]
    assert await seen(pool) == [1, 2, 1]


async def test_a_transaction_that_was_passed_cannot_write_lines_any_more(pool: db.Pool) -> None:
    async with pool.acquire() as conn:
        with pytest.raises(states.TooLate):
            async with conn.transaction():
                await states.write_journal(conn, [line(1)], within_s=0)
    assert await seen(pool) == []
    assert states.JOURNAL_WITHIN_S < feed.OVERTAKEN_AFTER_S


async def test_a_place_of_another_database_is_known(pool: db.Pool) -> None:
    async with pool.acquire() as conn:
        assert await feed.ahead(conn, 10**15)
        assert not await feed.ahead(conn, await feed.horizon(conn))
