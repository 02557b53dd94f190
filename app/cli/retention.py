"""`cardrail retention`: what is old enough to go, and letting it go now instead of within the hour."""

from typing import Any

import typer

from app.cli.desk import WHY, AsJson, Desk, WhyOption, Yes, at_desk, out, show_json, show_rows, show_thing, would
from app.cli.ops import progress_bar, who
from app.cli.ops import run as running
from app.ops import retention
from app.wiring import Services

app = typer.Typer(no_args_is_help=True)


def _due(*, as_json: bool) -> dict[str, Any]:
    async def work(desk: Desk) -> dict[str, Any]:
        return await retention.status(desk.conn, desk.settings)

    found: dict[str, Any] = at_desk(work, as_json=as_json)
    return found


@app.command()
def status(as_json: AsJson = False) -> None:
    """What is due: bodies that go first, rows much later; how far each pass is. Counts all rows."""
    found = _due(as_json=as_json)
    if as_json:
        show_json(found)
        return
    rows = [
        {"pass": what, "due": due, "after_days": found["days"][what], "looked_through": found["through"][what]}
        for what, due in found["found"].items()
    ]
    show_rows(rows, list(rows[0]), as_json=False)
    out.print(f"{found['checkpoints']} accounts are rebuilt from a checkpoint.", highlight=False)


@app.command()
def run(reason: WhyOption = WHY, yes: Yes = False, as_json: AsJson = False) -> None:
    """Let go what is old enough, in small chunks beside the running service; a worker does it every hour by itself."""
    if not yes:
        found = _due(as_json=as_json)["found"]
        would(
            f"look at {found['bodies']} events for their bodies and at {found['rows']} for their rows", as_json=as_json
        )
        return
    bar, progress = progress_bar("retention", as_json=as_json)

    async def work(services: Services) -> dict[str, Any]:
        return await retention.drop(services, who(reason), yes=True, pause_s=retention.PAUSE_S, progress=progress)

    with bar:
        made = running(work, as_json=as_json)
    show_thing(made, as_json=as_json)
