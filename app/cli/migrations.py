"""`cardrail migrate`: the schema. The only command that needs Alembic and SQLAlchemy."""

import asyncio
from typing import Annotated, Any

import typer

from app.cli.desk import AsJson, ending, err, out, settings, show_json, whoami
from app.store import audit, db, migrating, schema
from app.wiring import open_database


def migrate(
    check: Annotated[bool, typer.Option("--check", help="Only see whether the schema is current and true.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the database to this version's schema."""
    given = settings(as_json=as_json)

    async def work() -> dict[str, Any]:
        async with open_database(given) as dsn:
            if check:
                await _is_current(dsn)
            before = None if check else await migrating.migrate(dsn)
            if before is not None and before != schema.head():
                await _migrated(dsn, before)
            return {"before": before, "now": schema.head(), "drift": await migrating.drift(dsn)}

    found = ending(lambda: asyncio.run(work()), as_json=as_json)
    if as_json:
        show_json(found)
    elif not found["drift"]:
        out.print(f"The schema is {found['now']}.", highlight=False)
    for difference in found["drift"]:
        err.print(difference, style="red", markup=False)
    raise typer.Exit(1 if found["drift"] else 0)


async def _is_current(dsn: str) -> None:
    """Against an older schema every table would be a difference: its version says it all."""
    conn = await db.connect(dsn, name="cardrail cli")
    try:
        await schema.check(conn)
    finally:
        await conn.close()


async def _migrated(dsn: str, before: str) -> None:
    conn = await db.connect(dsn, name="cardrail cli")
    try:
        reason, result = "a new release", {"before": before}
        await audit.note(conn, who=whoami(), action="migrate", target=schema.head(), reason=reason, result=result)
    finally:
        await conn.close()
