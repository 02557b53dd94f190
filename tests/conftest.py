"""Shared fixtures: a real PostgreSQL per test process, and a fresh migrated database per test.

The rule: no mocks of our own code, no second kind of database. A template is migrated once per process and cloned,
which takes milliseconds. `dsn` is a database of the test's own, `pool` a pool on it.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from app.flow.authorize import SESSION, Authorizer
from app.machines.programme import Authorization
from app.sealing import Keys
from app.store import db, embedded, schema, sealed
from app.wiring import unlock
from tests.flow.purchases import RULES, VERSION, Builder, now_ms
from tests.patience import PATIENCE_S

# How fast examples are made says how busy the machine is, not whether the code is right.
hypothesis.settings.register_profile("cardrail", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("cardrail")

LONG = ("tests/contract/", "tests/scenarios/", "tests/ops/")
"""Folders whose files take longest: begun first, so that no process ends long after the others."""

MEMORY = Path("/dev/shm")  # a folder of our own is made in it, by mkdtemp
"""Where a system keeps files in memory: a thousand databases of four hundred files each are made and dropped."""

MEMORY_FREE_BYTES = 4 << 30
"""What must be free there, so that the log of every test process fits; else the usual folder for such files serves."""

_TEMPLATE = "cardrail_template"
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The audit's walk makes every write, brakes among them: it comes after what else asks the same service."""
    audit = "tests/contract/test_audit.py"
    items.sort(
        key=lambda item: [*(not item.nodeid.startswith(folder) for folder in LONG), item.nodeid.startswith(audit)]
    )


class ByFile(LoadFileScheduling):  # type: ignore[misc]  # xdist brings no types
    """A file goes to one process as a whole; those of the contract together, since they ask one running service."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return LONG[0] if file.startswith(LONG[0]) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


@pytest.fixture(scope="session")
def postgres() -> Iterator[embedded.Embedded]:
    """The server of this test process (one per xdist worker), in a folder of its own, gone afterwards."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_FREE_BYTES
    folder = Path(tempfile.mkdtemp(prefix=f"cardrail-test-{worker}-", dir=MEMORY if roomy else None))
    server = embedded.start(folder, durable=False)
    try:
        yield server
    finally:
        embedded.stop(server, mode="immediate")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
async def admin(postgres: embedded.Embedded) -> AsyncIterator[db.Connection]:
    """A connection that makes and drops databases."""
    connection = await db.connect(postgres.dsn("postgres"))
    yield connection
    await connection.close()


def cloned(name: str, template: str) -> str:
    """The statement that makes a database from the template: copied as files, since the log of it serves nobody here."""
    return f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"


@pytest.fixture(scope="session")
async def template(postgres: embedded.Embedded, admin: db.Connection) -> str:
    """The name of a migrated database that tests clone."""
    await admin.execute(f"CREATE DATABASE {_TEMPLATE}")
    await schema.ensure(postgres.dsn(_TEMPLATE))
    return _TEMPLATE


@pytest.fixture
async def dsn(postgres: embedded.Embedded, admin: db.Connection, template: str) -> AsyncIterator[str]:
    """A fresh, migrated database for this test."""
    name = f"t{next(_numbers)}"
    await admin.execute(cloned(name, template))
    yield postgres.dsn(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def empty_dsn(postgres: embedded.Embedded, admin: db.Connection) -> AsyncIterator[str]:
    """A fresh database without any schema."""
    name = f"e{next(_numbers)}"
    await admin.execute(f"CREATE DATABASE {name} STRATEGY FILE_COPY")
    yield postgres.dsn(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def keys(dsn: str) -> Keys:
    """The keys that open this test's database; for pools of the test's own."""
    keys = Keys()
    plain = await db.open_pool(dsn, size=1, name="test keys")
    await unlock(plain, keys)
    await plain.close()
    return keys


@pytest.fixture
async def pool(dsn: str, keys: Keys) -> AsyncIterator[db.Pool]:
    """A small pool on this test's database."""
    opened = await db.open_pool(dsn, size=4, name="test", keys=keys)
    yield opened
    opened.terminate()


async def payload_of(pool: db.Pool, event_id: str = "%") -> bytes:
    """What the log keeps of the one event of this name, opened."""
    async with pool.acquire() as conn:
        row = await conn.fetchrow("SELECT account_id, event_id, payload FROM events WHERE event_id LIKE $1", event_id)
        assert row is not None
        return bytes((await sealed.opened(conn, sealed.EVENTS, [row]))[0]["payload"])


async def every_row(dsn: str) -> dict[str, str]:
    """Every row of every table as text, bytes as far as they are letters."""
    conn = await db.connect(dsn)
    try:
        await conn.execute("SET bytea_output = 'escape'")
        tables = await conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {
            row["tablename"]: str(await conn.fetchval(f"SELECT string_agg(t::text, chr(10)) FROM {row['tablename']} t"))
            for row in tables
        }
    finally:
        await conn.close()


@pytest.fixture
async def build(dsn: str, keys: Keys) -> AsyncIterator[Builder]:
    """Makes authorizers, each with a pool of its own."""
    made: list[tuple[Authorizer, db.Pool]] = []

    async def one(rules: Authorization = RULES, size: int = 4, **options: Any) -> Authorizer:
        own = await db.open_pool(dsn, size=size, name="authorize", settings=SESSION, keys=keys)
        given = {
            "deadline_ms": int(PATIENCE_S * 1_000),
            "default_approve": False,
            "version": VERSION,
            "clock": now_ms,
            **options,
        }
        made.append((Authorizer(own, rules, **given), own))
        return made[-1][0]

    yield one
    for authorizer, own in made:
        await authorizer.close(wait_s=0.1)
        own.terminate()
