"""The schema: migrations and tables.py say the same, both ways, and an old schema is refused."""

import asyncio
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from app.errors import ConfigError
from app.store import db, embedded, hosts, migrating, schema
from app.store.schema_tables import metadata

_COLUMNS = """
SELECT c.table_name, c.column_name, c.data_type, c.is_nullable, c.column_default, c.is_identity,
       col_description((quote_ident(c.table_name))::regclass, c.ordinal_position::int)
FROM information_schema.columns c WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, 2
"""
_INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"
_CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version' ORDER BY 1, 2
"""


async def _catalog(dsn: str) -> dict[str, list[tuple[object, ...]]]:
    connection = await db.connect(dsn)
    try:
        return {
            "columns": [tuple(row) for row in await connection.fetch(_COLUMNS)],
            "indexes": [tuple(row) for row in await connection.fetch(_INDEXES) if row[0] != "alembic_version"],
            "constraints": [tuple(row) for row in await connection.fetch(_CONSTRAINTS)],
        }
    finally:
        await connection.close()


async def test_migrations_build_what_the_tables_declare(dsn: str, empty_dsn: str) -> None:
    engine = migrating.engine_for(empty_dsn)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()
    assert await _catalog(dsn) == await _catalog(empty_dsn)
    assert await migrating.drift(dsn) == []


async def test_down_and_up_again_is_the_same_schema(dsn: str) -> None:
    before = await _catalog(dsn)
    assert await migrating.migrate(dsn, to="base") == schema.head()
    assert (await _catalog(dsn))["columns"] == []
    assert await migrating.migrate(dsn) == "base"
    assert await _catalog(dsn) == before


async def test_starters_at_once_migrate_once(empty_dsn: str) -> None:
    before = await asyncio.gather(*(migrating.migrate(empty_dsn) for _ in range(4)))
    assert sorted(before) == [schema.head()] * 3 + ["base"]


def test_the_versions_are_those_that_alembic_knows() -> None:
    scripts = ScriptDirectory.from_config(migrating.alembic_config())
    assert schema.versions() == {script.revision: script.down_revision for script in scripts.walk_revisions()}
    assert schema.head() == scripts.get_current_head()


async def test_a_database_of_our_own_is_brought_up_to_date_and_then_left_alone(empty_dsn: str) -> None:
    await schema.ensure(empty_dsn)
    built = await _catalog(empty_dsn)
    await schema.ensure(empty_dsn)
    assert await _catalog(empty_dsn) == built
    assert await migrating.migrate(empty_dsn) == schema.head()


async def test_an_unmigrated_database_is_refused_with_the_command_to_run(empty_dsn: str) -> None:
    pool = await db.open_pool(empty_dsn, size=1, name="test")
    with pytest.raises(ConfigError, match="cardrail migrate"):
        await schema.check(pool)
    await migrating.migrate(empty_dsn)
    await schema.check(pool)
    await pool.close()


async def test_a_schema_from_the_future_is_refused_and_not_migrated(pool: db.Pool, dsn: str) -> None:
    await pool.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="newer"):
        await schema.check(pool)
    with pytest.raises(ConfigError, match="newer"):
        await migrating.migrate(dsn)


async def test_json_travels_as_it_is(pool: db.Pool) -> None:
    assert await pool.fetchval("SELECT $1::jsonb", {"a": [1, "é"]}) == {"a": [1, "é"]}


async def test_a_second_starter_reuses_the_running_server(postgres: embedded.Embedded) -> None:
    second = embedded.start(postgres.data.parent)
    assert not second.started
    assert second.dsn() == postgres.dsn()
    embedded.stop(second)
    assert embedded.is_running(postgres.data)


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("postgresql+asyncpg://u:p@h/db", "postgresql://u:p@h/db"),
        ("postgres://h/db", "postgresql://h/db"),
        ("postgresql://postgres@/db?host=/tmp/x", "postgresql://postgres@/db?host=/tmp/x"),
        ("postgresql://a:1,b:2/db", "postgresql://a:1,b:2/db?target_session_attrs=read-write"),
        ("postgresql://a,b/db?target_session_attrs=any", "postgresql://a,b/db?target_session_attrs=any"),
    ],
)
async def test_each_form_of_url_is_understood(url: str, plain: str) -> None:
    assert hosts.plain_dsn(url) == plain


async def test_a_path_too_long_for_a_socket_still_starts(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 60) / ("y" * 60)
    server = embedded.start(folder, durable=False)
    connection = await db.connect(server.dsn())
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    embedded.stop(server, mode="immediate")
