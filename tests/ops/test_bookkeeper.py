"""The bookkeeper: what Stripe could not tell is asked for again soon, and ever more rarely."""

from app.ops.bookkeeper import LEASE_S, Bookkeeper
from app.store import ledger
from app.wiring import Services

WAIT_S = "SELECT extract(epoch FROM due_at - now())::float8 FROM ledger_reads"


async def test_entries_that_could_not_be_listed_are_asked_for_again_long_before_the_lease_ends(
    services: Services,
) -> None:
    await services.pool.execute("INSERT INTO accounts (account_id) VALUES ('acct_1')")
    async with services.pool.acquire() as conn:
        await ledger.mark(conn, ["acct_1"])
    waits: list[float] = []
    for _ in range(5):
        await services.pool.execute("UPDATE ledger_reads SET due_at = now()")
        assert await Bookkeeper(services).poll() is True
        waits.append(await services.pool.fetchval(WAIT_S))
    assert waits[0] < LEASE_S / 4
    rounded = [round(wait) for wait in waits]
    assert rounded == sorted(rounded)
    assert rounded[0] < rounded[-1]
