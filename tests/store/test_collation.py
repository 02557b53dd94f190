"""On a database that sorts text as a dictionary does (en_US), not by bytes."""

import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from app.ops.doctor import running
from app.sealing import Keys
from app.store import chains, db, embedded, log, schema, views
from app.wiring import unlock

LOCALE = "en_US.UTF-8"


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.Embedded]:
    """A server of its own that knows this locale."""
    folder = Path(tempfile.mkdtemp(prefix="cardrail-test-locale-"))
    folder.chmod(0o755)
    tool = shutil.which("localedef")
    command = [tool or "", "-i", "en_US", "-f", "UTF-8", str(folder / LOCALE)]
    if tool is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine has no sources of locales (Debian: apt install locales)")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOCPATH", str(folder))
        started = embedded.start(folder / "data", durable=False)
    yield started
    embedded.stop(started, mode="immediate")
    shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="module")
async def worded(server: embedded.Embedded) -> str:
    """A migrated database whose collation is en_US."""
    admin = await db.connect(server.dsn("postgres"))
    await admin.execute(f"CREATE DATABASE worded LOCALE '{LOCALE}' TEMPLATE template0")
    await admin.close()
    await schema.ensure(server.dsn("worded"))
    return server.dsn("worded")


@pytest.fixture
async def conn(worded: str) -> AsyncIterator[db.Connection]:
    keys = Keys()
    pool = await db.open_pool(worded, size=1, name="test", keys=keys)
    await unlock(pool, keys)
    async with pool.acquire() as connection:
        yield connection
    pool.terminate()


async def test_what_was_handed_on_to_another_account_is_found_and_nothing_else(conn: db.Connection) -> None:
    for account, event in (
        ("acct_platform", "evt_1A"),
        ("acct_B", "evt_1A:acct_B"),
        ("acct_a", "evt_1a:acct_a"),
        ("acct_B", "evt_1A1"),
    ):
        await log.append(conn, account_id=account, event_id=event, source="request", type="t", happenings=[], at_ms=5)
    caused = await views.caused_by_event(conn, "acct_platform", "evt_1A")
    assert [row["id"] for row in caused] == ["evt_1A:acct_B"]
    assert [row["event_id"] for row in await chains.caused(conn, "acct_platform", ["evt_1A"])] == ["evt_1A:acct_B"]


async def test_pages_by_id_hold_every_account_once(conn: db.Connection) -> None:
    names = {"acct_1B", "acct_1a", "acct_1A", "acct_1b", "acct_1_", "acct_10", "acct_:1"}
    await conn.execute("INSERT INTO accounts (account_id) SELECT unnest($1::text[])", sorted(names))
    seen: list[str] = []
    while page := await views.accounts(conn, platform="acct_platform", limit=2, after=seen[-1:]):
        seen += [row["account_id"] for row in page]
    assert sorted(seen) == sorted(names)


async def test_the_doctor_tells_that_the_server_sorts_otherwise_than_when_the_indexes_were_built(
    conn: db.Connection,
) -> None:
    name = "collation"
    assert {c.state for c in await running.look(conn) if c.check == name} == {"ok"}
    await conn.execute("UPDATE pg_database SET datcollversion = '2.28' WHERE datname = current_database()")
    [check] = [c for c in await running.look(conn) if c.check == name]
    assert check.state == "wrong"
    assert 'REINDEX DATABASE "worded"' in check.do
    await conn.execute('ALTER DATABASE "worded" REFRESH COLLATION VERSION')
    assert {c.state for c in await running.look(conn) if c.check == name} == {"ok"}
