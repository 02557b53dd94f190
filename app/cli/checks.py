"""`cardrail migrate | config | openapi | machines`: the schema, the settings, and what the code says of itself."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from app.cli.desk import AsJson, ending, err, fail, out, settings, show_json, show_rows
from app.config import describe, unknown_settings
from app.errors import CardrailError
from app.store import schema
from app.wiring import open_database

OPENAPI = Path(__file__).resolve().parents[2] / "openapi.yaml"


def migrate(
    check: Annotated[bool, typer.Option("--check", help="Only see whether the schema is current and true.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the database to this version's schema."""
    given = settings()

    async def work() -> dict[str, Any]:
        async with open_database(given) as dsn:
            before = None if check else await schema.migrate(dsn)
            return {"before": before, "now": schema.head(), "drift": await schema.drift(dsn)}

    found = ending(lambda: asyncio.run(work()), as_json=as_json)
    if as_json:
        show_json(found)
    elif not found["drift"]:
        out.print(f"The schema is {found['now']}.", highlight=False)
    for difference in found["drift"]:
        err.print(difference, style="red", markup=False)
    raise typer.Exit(1 if found["drift"] else 0)


def config(as_json: AsJson = False) -> None:
    """Every setting, its meaning, and what it is now. Secrets are masked."""
    rows = [row._asdict() for row in describe(settings())]
    show_rows(rows, list(rows[0]) if as_json else ["name", "value", "default", "doc"], as_json=as_json)
    for name in unknown_settings(os.environ):
        err.print(f"{name} is set but means nothing here: misspelled?", style="yellow")


def document() -> str:
    """``openapi.yaml`` as the code would have it; needs no database."""
    from app.web.main import build  # noqa: PLC0415 - other commands start without the web stack
    from app.web.openapi import text  # noqa: PLC0415 - as above

    return text(build())


def openapi(
    check: Annotated[bool, typer.Option("--check", help="Compare with openapi.yaml; exit 1 when they differ.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Write openapi.yaml.")] = False,
    as_json: AsJson = False,
) -> None:
    """The API's description (OpenAPI 3.1)."""
    text = document()
    if write:
        OPENAPI.write_text(text, encoding="utf-8")
    elif check:
        same = OPENAPI.is_file() and OPENAPI.read_text(encoding="utf-8") == text
        if not same:
            fail(CardrailError("openapi.yaml is not what the code says. Run: make openapi", code="openapi_differs"))
    elif as_json:
        show_json(yaml.safe_load(text))
    else:
        typer.echo(text, nl=False)


def machines(
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As Mermaid state diagrams.")] = False,
    as_json: AsJson = False,
) -> None:
    """The machines: states and legal moves of the account and of every kind of object."""
    from app.machines.registry import ALL, diagrams  # noqa: PLC0415 - only this command draws them

    if as_json:
        show_json({machine.kind: {"doc": machine.doc, "moves": machine.moves} for machine in ALL})
    elif mermaid:
        typer.echo(diagrams(), nl=False)
    else:
        for machine in ALL:
            out.print(f"[bold]{machine.kind}[/bold]  {machine.doc}", highlight=False)
            for state, following in machine.moves.items():
                out.print(f"  {state} -> {', '.join(following) or '(end)'}", markup=False, highlight=False)
