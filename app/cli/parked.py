"""`cardrail parked`: what needs a person, by fingerprint, and one answer for all of a fingerprint."""

from typing import Annotated, Any

import typer

from app.cli.desk import AsJson, WhyOption, Yes, show_rows, show_thing, would
from app.cli.ops import run, who
from app.ops import parked
from app.wiring import Services

app = typer.Typer()

Name = Annotated[str, typer.Argument(metavar="FINGERPRINT", help="As `cardrail parked list` shows it.")]
COLUMNS = ["fingerprint", "what", "kind", "code", "count", "oldest", "example", "message"]


@app.callback(invoke_without_command=True)
def overview(context: typer.Context, as_json: AsJson = False) -> None:
    """What needs a person, by fingerprint."""
    if context.invoked_subcommand is None:
        listing(as_json=as_json)


@app.command("list")
def listing(as_json: AsJson = False) -> None:
    """What is parked, largest group first: what, which kind, which code, since when, and one example."""

    async def work(services: Services) -> list[dict[str, Any]]:
        async with services.pool.acquire() as conn:
            return await parked.groups(conn)

    show_rows(run(work, as_json=as_json), COLUMNS, as_json=as_json)


@app.command()
def retry(name: Name, reason: WhyOption = "the cause is gone", yes: Yes = False, as_json: AsJson = False) -> None:
    """Fold the events again, or send the commands again under their own keys."""
    _answer(name, "retry", reason, yes=yes, as_json=as_json)


@app.command()
def ignore(name: Name, reason: WhyOption, yes: Yes = False, as_json: AsJson = False) -> None:
    """Close the parked events without effect."""
    _answer(name, "ignore", reason, yes=yes, as_json=as_json)


@app.command()
def discard(name: Name, reason: WhyOption, yes: Yes = False, as_json: AsJson = False) -> None:
    """Give the parked commands up; the log of each account learns it."""
    _answer(name, "discard", reason, yes=yes, as_json=as_json)


def _answer(name: str, answer: str, reason: str, *, yes: bool, as_json: bool) -> None:
    async def work(services: Services) -> dict[str, Any]:
        if yes:
            return await parked.answer_all(services.pool, name, answer, who(reason), at_ms=services.clock())
        async with services.pool.acquire() as conn:
            found = await parked.group(conn, name)
        parked.check(found, answer)
        return found

    made = run(work, as_json=as_json, change=f"parked.{answer} {name}" if yes else "", reason=reason)
    if not yes:
        would(f"{answer} {made['count']} x {made['what']} {made['kind']} ({made['code']})", as_json=as_json)
        return
    show_thing(made, as_json=as_json)
    raise typer.Exit(1 if made["refused"] else 0)
