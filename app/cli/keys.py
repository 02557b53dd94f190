"""`cardrail keys`: API keys."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer

from app.cli.desk import AsJson, Desk, WhyOption, at_desk, err, show_json, show_rows, show_thing
from app.errors import NotFound
from app.store import keys

app = typer.Typer(no_args_is_help=True)


class Scope(StrEnum):
    """What a key may do; each includes the one before."""

    read = "read"
    operate = "operate"
    admin = "admin"


@app.command()
def create(
    name: Annotated[str, typer.Option(help="Who will use it.")],
    scope: Annotated[Scope, typer.Option(help="How far it reaches.")] = Scope.read,
    expires_days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; absent: never.")] = None,
    reason: WhyOption = "asked for on the command line",
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown once and never again."""

    async def work(desk: Desk) -> dict[str, Any]:
        expires_at = None if expires_days is None else datetime.now(UTC) + timedelta(days=expires_days)
        row, key = await keys.create(desk.conn, name=name, scope=scope.value, expires_at=expires_at)
        return {"id": row["id"], "key": key, **{k: row[k] for k in ("name", "scope", "created_at", "expires_at")}}

    made = at_desk(work, as_json=as_json, change=f"keys.create {name}", reason=reason)
    show_thing(made, as_json=as_json)
    if not as_json:
        err.print("Keep the key now: it cannot be shown again.", style="yellow")


@app.command("list")
def every(as_json: AsJson = False) -> None:
    """All keys, without the keys themselves."""

    async def work(desk: Desk) -> list[dict[str, Any]]:
        return [dict(row) for row in await keys.every(desk.conn)]

    columns = ["id", "name", "prefix", "scope", "created_at", "expires_at", "last_used_at", "revoked_at"]
    show_rows(at_desk(work, as_json=as_json), columns, as_json=as_json)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID")],
    reason: WhyOption = "asked for on the command line",
    yes: Annotated[  # noqa: ARG001 - who types it everywhere may type it here
        bool, typer.Option("--yes", help="One key is revoked without it, too.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Revoke a key for good; every process refuses it within a second."""

    async def work(desk: Desk) -> dict[str, Any]:
        row = await keys.revoke(desk.conn, key_id)
        if row is None:
            raise NotFound(f"There is no key {key_id}.")
        return dict(row)

    made = at_desk(work, as_json=as_json, change=f"keys.revoke {key_id}", reason=reason)
    show_json(made) if as_json else show_thing(made, as_json=False)
