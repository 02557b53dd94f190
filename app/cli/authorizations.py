"""`cardrail authorizations`: what was decided in real time, why, and what would be decided now."""

import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from app.cli.desk import AsJson, Desk, Limit, at_desk, ending, show_json, show_rows, show_thing
from app.errors import BadInput
from app.machines.programme import Programme
from app.ops import trials
from app.store import decision_views
from app.web import decided, whole
from app.wiring import load_programme

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def every(
    account: Annotated[str | None, typer.Option(help="Only of this account.")] = None,
    approved: Annotated[bool | None, typer.Option("--approved/--declined", help="Only one kind.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only with this reason.")] = None,
    mismatch: Annotated[
        bool | None, typer.Option("--mismatch/--match", help="Only what Stripe did not follow or not hear.")
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Decisions, newest first."""

    async def work(desk: Desk) -> list[dict[str, Any]]:
        rows = await decision_views.decisions(
            desk.conn, limit=limit, account=account, approved=approved, reason=reason, mismatch=mismatch
        )
        return [decided.decision(row) for row in rows]

    columns = ["authorization", "account", "approved", "reason", "amount", "decided_at", "took_us", "stripe_reason"]
    show_rows(at_desk(work, as_json=as_json), [*columns, "mismatch"], as_json=as_json)


@app.command()
def show(
    authorization: Annotated[str, typer.Argument(metavar="IAUTH", help="The authorization.")], as_json: AsJson = False
) -> None:
    """One authorization: every decision on it, with its inputs."""
    found = at_desk(lambda desk: whole.authorization(desk.conn, authorization), as_json=as_json)
    if as_json:
        show_json(found)
        return
    show_thing({k: v for k, v in found.items() if k != "decisions"}, as_json=False)
    columns = ["event", "decided_at", "approved", "reason", "requested", "amount", "took_us", "rules", "stripe_reason"]
    show_rows(found["decisions"], [*columns, "inputs"], as_json=False)


@app.command("try")
def attempt(
    event: Annotated[str | None, typer.Option(metavar="EVT", help="A stored authorization event.")] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="An event or authorization as Stripe sends it; - reads stdin."),
    ] = None,
    account: Annotated[str | None, typer.Option(metavar="ACCT", help="Whose it is, if the file does not say.")] = None,
    programme: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Try the rules of this programme instead of the one in force.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What an authorization would be answered now, and why. Decides nothing."""
    if (event is None) == (file is None):
        raise typer.BadParameter("name either --event or --file")
    other = None if programme is None else ending(lambda: load_programme(programme), as_json=as_json)
    raw = None if file is None else ending(lambda: _read(file), as_json=as_json)
    found = at_desk(lambda desk: _try(desk, event, raw, account, other), as_json=as_json)
    if as_json:
        show_json(found)
    else:
        tightest = {one["reason"]: one["room"]["value"] for one in found["ceilings"]}
        show_thing({**found, "ceilings": tightest}, as_json=False)


async def _try(
    desk: Desk, event: str | None, raw: object, account: str | None, other: Programme | None
) -> dict[str, Any]:
    asked = trials.given(raw, account) if event is None else await trials.stored(desk.conn, event)
    return await trials.trial(desk.conn, asked, (other or desk.programme).authorization, desk.now_ms())


def _read(file: str) -> object:
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return orjson.loads(raw)
    except (OSError, orjson.JSONDecodeError) as error:
        raise BadInput(f"{file}: {error}", code="request_unreadable") from error
