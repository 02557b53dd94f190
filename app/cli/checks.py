"""`cardrail config | openapi | machines`: the settings, and what the code says of itself."""

import os
from pathlib import Path
from typing import Annotated

import typer
import yaml

from app.cli.desk import AsJson, err, fail, out, settings, show_json, show_rows
from app.config import describe, unknown_settings
from app.errors import CardrailError

ROOT = Path(__file__).resolve().parents[2]


def config(as_json: AsJson = False) -> None:
    """Every setting, its meaning, and what it is now. Secrets are masked."""
    rows = [row._asdict() for row in describe(settings())]
    show_rows(rows, list(rows[0]) if as_json else ["name", "value", "default", "doc"], as_json=as_json)
    for name in unknown_settings(os.environ):
        err.print(f"{name} is set but means nothing here: misspelled?", style="yellow")


def documents() -> dict[Path, str]:
    """The files that describe the API as the code would have them; needs no database. openapi.yaml is the first."""
    from app.web import codes, openapi  # noqa: PLC0415 - other commands start without the web stack
    from app.web.main import build  # noqa: PLC0415 - as above

    return {ROOT / "openapi.yaml": openapi.text(build()), ROOT / "docs" / "problems.md": codes.markdown()}


def openapi(
    check: Annotated[bool, typer.Option("--check", help="Compare with the files; exit 1 when they differ.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Write openapi.yaml and docs/problems.md.")] = False,
    as_json: AsJson = False,
) -> None:
    """The API's description (OpenAPI 3.1), and the list of its problem codes."""
    made = documents()
    if write:
        for path, text in made.items():
            path.write_text(text, encoding="utf-8")
    elif check:
        other = [p.name for p, text in made.items() if not p.is_file() or p.read_text(encoding="utf-8") != text]
        if other:
            said = f"{' and '.join(other)}: not what the code says. Run: make openapi"
            fail(CardrailError(said, code="openapi_differs"))
    elif as_json:
        show_json(yaml.safe_load(next(iter(made.values()))))
    else:
        typer.echo(next(iter(made.values())), nl=False)


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
