"""The schema's version: which one this code needs, and whether a database has it.

The rule it enforces: the service never runs on a schema it does not know. What brings a database there is
``app.store.migrating``; it needs Alembic and SQLAlchemy, which no process loads that finds its schema current.
"""

import re
from functools import cache
from pathlib import Path

import asyncpg

from app.errors import ConfigError
from app.store import db

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
_NAMED = re.compile(r'^(revision|down_revision) = (?:"(\w+)"|None)$', re.MULTILINE)


@cache
def versions() -> dict[str, str | None]:
    """Every version that this code knows, with the one below it, as the migrations' texts name them."""
    found: dict[str, str | None] = {}
    for path in MIGRATIONS.glob("versions/*_*.py"):
        if named := dict(_NAMED.findall(path.read_text(encoding="utf-8"))):
            found[named["revision"]] = named["down_revision"] or None
    return found


@cache
def head() -> str:
    """The newest version that this code knows: the one that no other builds on."""
    newest = set(versions()) - set(versions().values())
    if len(newest) != 1:
        message = f"No single newest migration in {MIGRATIONS}: {sorted(newest)}."
        raise ConfigError(message)
    return newest.pop()


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
    must_know(found)
    message = f"The database's schema is {found or 'empty'}, this cardrail needs {head()}. Run: cardrail migrate"
    raise ConfigError(message, code="old_schema")


def must_know(found: str | None) -> None:
    """Refuse a version that only a newer release knows: nothing here can bring it anywhere."""
    if found is not None and found not in versions():
        message = f"The database's schema ({found}) is newer than this cardrail ({head()}): install the newer release."
        raise ConfigError(message, code="new_schema")


async def ensure(dsn: str) -> None:
    """Bring a database of our own to this version, if it is not there."""
    conn = await db.connect(dsn)
    try:
        current = await version(conn) == head()
    finally:
        await conn.close()
    if not current:
        from app.store import migrating  # noqa: PLC0415 - half a second, for a new database only

        await migrating.migrate(dsn)
