"""`cardrail actions`: who did what, and why."""

from datetime import datetime
from typing import Annotated, Any

import typer

from app.cli.desk import AsJson, Desk, Limit, at_desk, moment, show_rows
from app.store import audit
from app.store.views import parsed

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def every(
    who: Annotated[str | None, typer.Option(help="Only of this one.")] = None,
    target: Annotated[str | None, typer.Option(help="Only where this is a part of the target.")] = None,
    since: Annotated[
        datetime | None, typer.Option(parser=moment, metavar="TIME", help="RFC 3339: at this time or later.")
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Operations of people and internal services, newest first."""

    async def work(desk: Desk) -> list[dict[str, Any]]:
        rows = await audit.newest(desk.conn, limit=limit, who=who, target=target, since=since)
        return [{**row, "result": parsed(row["result"])} for row in rows]

    rows = at_desk(work, as_json=as_json)
    if not as_json:
        rows = [{**row, "result": _short(row["result"])} for row in rows]
    show_rows(rows, ["at", "who", "action", "target", "reason", "result"], as_json=as_json)


def _short(result: object) -> str | None:
    """What came of it, for one cell: ``state held``, ``done 2, refused 0``, ``read 6, events 1, card.state 1``.

    A list is told by its length; whole it stands in JSON.
    """
    plain = result if isinstance(result, dict) else {}
    said: list[str] = []
    for name, value in plain.items():
        if isinstance(value, dict):
            said += [f"{part} {count}" for part, count in value.items() if isinstance(count, str | int)]
        elif isinstance(value, list):
            said += [f"{name} {len(value)}"] if value else []
        elif isinstance(value, str | int) and name != "key":
            said.append(f"{name} {value}")
    return ", ".join(said) or None
