"""Bring a database to a version of the schema, and show where it differs from ``tables.py``.

Concurrent starters migrate one after the other (an advisory lock inside the migrating transaction). Works from any
folder: the migrations are found beside the package.
"""

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from app.store import hosts, schema
from app.store.schema_tables import metadata

_LOCK = 0x63617264  # "card"; one number for every starter


def alembic_config() -> Config:
    """Alembic's configuration, independent of the working directory."""
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS).replace("%", "%%"))
    return config


def engine_for(dsn: str) -> AsyncEngine:
    """A SQLAlchemy engine for DDL only; it connects as our pools do, so each form of URL works."""
    return create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: hosts.connect(hosts.plain_dsn(dsn)), poolclass=NullPool
    )


async def migrate(dsn: str, *, to: str = "head") -> str:
    """Bring the database to ``to`` (``head``, ``base`` or a version) in one transaction; returns the version before.

    Raises ConfigError for a database of a newer release.
    """
    engine = engine_for(dsn)
    try:
        async with engine.begin() as connection:
            await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            return await connection.run_sync(_move, to)
    finally:
        await engine.dispose()


def _move(connection: sa.Connection, to: str) -> str:
    found = MigrationContext.configure(connection).get_current_revision()
    schema.must_know(found)
    before = found or "base"
    config = alembic_config()
    config.attributes["connection"] = connection
    if to == "base":
        command.downgrade(config, to)
    else:
        command.upgrade(config, to)
    return before


async def drift(dsn: str) -> list[str]:
    """How the database differs from ``tables.py``; empty when it does not."""
    engine = engine_for(dsn)
    try:
        async with engine.connect() as connection:
            found = await connection.run_sync(lambda sync: compare_metadata(MigrationContext.configure(sync), metadata))
    finally:
        await engine.dispose()
    return [str(difference) for difference in found]
