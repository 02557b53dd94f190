"""Alembic's entry: on the connection that `app.store.migrating` hands over, or on DATABASE_URL from the command line."""

import asyncio
import os

import sqlalchemy as sa
from alembic import context

from app.store.migrating import engine_for
from app.store.schema_tables import metadata


def _run(connection: sa.Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()


async def _run_alone() -> None:
    engine = engine_for(os.environ["DATABASE_URL"])
    async with engine.begin() as connection:
        await connection.run_sync(_run)
    await engine.dispose()


handed_over: sa.Connection | None = context.config.attributes.get("connection")
if handed_over is not None:
    _run(handed_over)
else:
    asyncio.run(_run_alone())
