"""`cardrail brakes`: stop one kind of command everywhere, or all of them, and let it go on."""

from typing import Annotated, Any

import typer

from app.cli.desk import AsJson, Desk, WhyOption, Yes, at_desk, show_rows, show_thing, would
from app.errors import Conflict
from app.ops import requests
from app.store import controls

app = typer.Typer(no_args_is_help=True)

Step = Annotated[str, typer.Argument(metavar="STEP", help="all, or a kind of command such as create_card.")]


@app.command("list")
def every(as_json: AsJson = False) -> None:
    """The steps that stand still: since when, who stopped them and why (cardrail: by itself)."""

    async def work(desk: Desk) -> list[dict[str, Any]]:
        return [dict(row) for row in await controls.brakes(desk.conn)]

    show_rows(at_desk(work, as_json=as_json), ["step", "by", "at", "reason"], as_json=as_json)


@app.command("set")
def stop(step: Step, reason: WhyOption, yes: Yes = False, as_json: AsJson = False) -> None:
    """Stop a step everywhere; receiving and reading go on, and what waits leaves after the release."""
    _known(step)
    if not yes:
        would(f"stop {step} everywhere", as_json=as_json)
        return

    async def work(desk: Desk) -> dict[str, Any]:
        return await requests.brake(desk.conn, step, on=True, by=desk.who, reason=reason)

    show_thing(at_desk(work, as_json=as_json, change=f"brakes.set {step}", reason=reason), as_json=as_json)


@app.command()
def release(step: Step, reason: WhyOption, yes: Yes = False, as_json: AsJson = False) -> None:
    """Let a step go on; what waited behind it leaves, nothing is lost."""
    _known(step)

    async def work(desk: Desk) -> dict[str, Any]:
        standing = {row["step"] for row in await controls.brakes(desk.conn)}
        if step not in standing:
            raise Conflict(f"No brake is on {step}; on are: {', '.join(sorted(standing)) or 'none'}.", code="no_brake")
        if not yes:
            return {}
        return await requests.brake(desk.conn, step, on=False, by=desk.who, reason=reason)

    made = at_desk(work, as_json=as_json, change=f"brakes.release {step}" if yes else "", reason=reason)
    if yes:
        show_thing(made, as_json=as_json)
    else:
        would(f"let {step} go on", as_json=as_json)


def _known(step: str) -> None:
    if step not in requests.BRAKES:
        raise typer.BadParameter(f"There is no step {step}: one of {', '.join(requests.BRAKES)}.")
