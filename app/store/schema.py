"""The schema's version: bring a database to it, refuse one that is not there, show where two differ.

The rule it enforces: the service never runs on a schema it does not know, and concurrent starters migrate one after
the other (an advisory lock inside the migrating transaction). Works from any folder: the migrations are found beside
the package.
"""

from functools import cache
from pathlib import Path

import asyncpg
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from app.errors import ConfigError
from app.store import db
from app.store.schema_tables import metadata

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
_LOCK = 0x63617264  # "card"; one number for every starter


def alembic_config() -> Config:
    """Alembic's configuration, independent of the working directory."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


@cache
def head() -> str:
    """The newest version that this code knows."""
    version = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if version is None:
        message = f"No migrations found in {MIGRATIONS}."
        raise ConfigError(message)
    return version


def engine_for(dsn: str) -> AsyncEngine:
    """A SQLAlchemy engine for DDL only; it connects as our pools do, so each form of URL works."""
    return create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(db.plain_dsn(dsn)), poolclass=NullPool
    )


async def migrate(dsn: str, *, to: str = "head") -> str:
    """Bring the database to ``to`` (``head``, ``base`` or a version) in one transaction; returns the version before."""
    engine = engine_for(dsn)
    try:
        async with engine.begin() as connection:
            await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            return await connection.run_sync(_move, to)
    finally:
        await engine.dispose()


def _move(connection: sa.Connection, to: str) -> str:
    before = MigrationContext.configure(connection).get_current_revision() or "base"
    config = alembic_config()
    config.attributes["connection"] = connection
    if to == "base":
        command.downgrade(config, to)
    else:
        command.upgrade(config, to)
    return before


async def version(pool: db.Pool) -> str | None:
    """The database's version; None when it was never migrated."""
    try:
        found: str | None = await pool.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        return None
    return found


async def check(pool: db.Pool) -> None:
    """Refuse a database whose schema is not ours; the error says the command to run."""
    found = await version(pool)
    if found == head():
        return
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    if found is not None and found not in known:
        message = f"The database's schema ({found}) is newer than this cardrail ({head()}): install the newer release."
    else:
        message = f"The database's schema is {found or 'empty'}, this cardrail needs {head()}. Run: cardrail migrate"
    raise ConfigError(message, code="old_schema")


async def drift(dsn: str) -> list[str]:
    """How the database differs from ``tables.py``; empty when it does not."""
    engine = engine_for(dsn)
    try:
        async with engine.connect() as connection:
            found = await connection.run_sync(lambda sync: compare_metadata(MigrationContext.configure(sync), metadata))
    finally:
        await engine.dispose()
    return [str(difference) for difference in found]
