"""`cardrail accounts`: see, explain, hold, release, adopt."""

from typing import Annotated, Any

import typer

from app.cli import ops
from app.cli.desk import (
    AsJson,
    Desk,
    Limit,
    WhyOption,
    Yes,
    at_desk,
    err,
    out,
    show_json,
    show_rows,
    show_thing,
    would,
)
from app.cli.lines import drawn
from app.errors import NotFound
from app.ops import chains, requests
from app.store import views
from app.web import shown
from app.web.schemas import State

app = typer.Typer(no_args_is_help=True)

Account = Annotated[str, typer.Argument(metavar="ACCT", help="The account.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")]


async def _row(desk: Desk, account_id: str) -> views.Row:
    row = await views.account(desk.conn, account_id)
    if row is None:
        raise NotFound(f"There is no account {account_id}.")
    return row


@app.command("list")
def every(
    state: Annotated[State | None, typer.Option(help="Lifecycle state.")] = None,
    country: Annotated[str | None, typer.Option(help="Country.")] = None,
    held: Annotated[bool | None, typer.Option("--held/--not-held", help="Held or not.")] = None,
    stuck: Annotated[
        bool | None, typer.Option("--stuck/--not-stuck", help="Past a deadline, parked, or refused for good.")
    ] = None,
    limit: Limit = 200,
    as_json: AsJson = False,
) -> None:
    """Accounts and what they wait for."""

    async def work(desk: Desk) -> list[dict[str, Any]]:
        limits = desk.programme.deadlines
        rows = await views.accounts(
            desk.conn,
            platform=desk.platform,
            limit=limit,
            state=state,
            country=country.upper() if country else None,
            held=held,
            stuck=stuck,
            deadlines={name: int(getattr(limits, name)) for name in limits.__struct_fields__},
        )
        return [shown.account_summary(row, desk.programme, desk.now_ms()) for row in rows]

    rows = at_desk(work, as_json=as_json, platform=True)
    if not as_json:
        rows = [{**row, "waits_for": (row["waiting_for"] or {}).get("what")} for row in rows]
    show_rows(rows, ["id", "state", "since", "country", "waits_for", "last_error"], as_json=as_json)


@app.command()
def show(account_id: Account, as_json: AsJson = False) -> None:
    """Everything about one account."""

    async def work(desk: Desk) -> dict[str, Any]:
        return shown.account(await _row(desk, account_id), desk.programme, desk.now_ms(), desk.platform)

    show_thing(at_desk(work, as_json=as_json, platform=True), as_json=as_json)


@app.command()
def explain(account_id: Account, as_json: AsJson = False) -> None:
    """Where the account stands, what it waits for, what comes next, and what would help."""

    async def work(desk: Desk) -> dict[str, Any]:
        return shown.explanation(await _row(desk, account_id), desk.programme, desk.now_ms(), desk.platform)

    answer = at_desk(work, as_json=as_json, platform=True)
    if as_json:
        show_json(answer)
        return
    out.print(answer["plain"], markup=False, highlight=False)
    waiting = answer["waiting_for"]
    if waiting and waiting["deadline"]:
        passed = "passed" if waiting["overdue"] else "not passed"
        out.print(f"Deadline: {waiting['deadline']} ({passed})", markup=False, highlight=False)
    if answer["next_command"]:
        out.print(f"Next by itself: {answer['next_command']}", markup=False)
    for command in answer["commands"]:
        out.print(f"  {command}", style="cyan", markup=False, highlight=False, soft_wrap=True)


@app.command()
def journal(account_id: Account, limit: Limit = 1000, as_json: AsJson = False) -> None:
    """The account's life, oldest first: each line with the event behind it, its commands, and what those caused."""

    async def work(desk: Desk) -> list[dict[str, Any]]:
        await _row(desk, account_id)
        rows = await views.journal(desk.conn, account_id, limit=limit)
        behind = await chains.behind(desk.conn, account_id, rows)
        return [shown.chained_line(*pair) for pair in zip(rows, behind, strict=True)]

    lines = at_desk(work, as_json=as_json)
    if as_json:
        show_json({"data": lines})
        return
    for line in lines:
        out.print(drawn(line), markup=False, highlight=False, soft_wrap=True)
    if not lines:
        err.print("Nothing found.", style="dim")


@app.command()
def hold(
    account_id: Account, reason: WhyOption, yes: Yes = False, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Stop automation of one account, at once (also without --yes: it is undone by `release`)."""
    _ = yes

    async def work(desk: Desk) -> dict[str, Any]:
        return await requests.hold(desk.conn, account_id, by=desk.who, reason=reason, at_ms=desk.now_ms())

    made = at_desk(work, as_json=as_json, change=f"accounts.hold {account_id}", reason=reason, dry=dry_run)
    _told(made, "" if not dry_run else f"hold {account_id}: no command of it leaves", as_json=as_json)


def _told(made: dict[str, Any], plan: str, *, as_json: bool) -> None:
    """What was made, or the plan of what would be."""
    if plan:
        would(plan, as_json=as_json)
    else:
        show_thing(made, as_json=as_json)


@app.command()
def release(
    account_id: Account,
    reason: WhyOption = "released by an operator",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Let automation of one account go on."""
    _ = yes

    async def work(desk: Desk) -> dict[str, Any]:
        return await requests.release(desk.conn, account_id, by=desk.who, reason=reason, at_ms=desk.now_ms())

    made = at_desk(work, as_json=as_json, change=f"accounts.release {account_id}", reason=reason, dry=dry_run)
    _told(made, "" if not dry_run else f"release {account_id}: its waiting commands leave", as_json=as_json)


@app.command()
def adopt(
    account_id: Account,
    reason: WhyOption = "adopted by an operator",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take an account that is only followed under our care: automatic commands may then leave for it."""

    async def work(desk: Desk) -> dict[str, Any]:
        return await requests.adopt(desk.conn, account_id, platform=desk.platform, by=desk.who, at_ms=desk.now_ms())

    change = f"accounts.adopt {account_id}"
    made = at_desk(work, as_json=as_json, change=change, reason=reason, platform=True, dry=not yes)
    _told(made, "" if yes else f"adopt {account_id}: the programme's steps then run for it", as_json=as_json)


@app.command()
def retry(account_id: Account, reason: WhyOption, yes: Yes = False, as_json: AsJson = False) -> None:
    """Let the step leave at which the account stands: once more after Stripe's refusal, or now that the programme runs it."""

    async def work(desk: Desk) -> dict[str, Any]:
        return await requests.allow(
            desk.conn, account_id, programme=desk.programme, by=desk.who, reason=reason, at_ms=desk.now_ms()
        )

    made = at_desk(work, as_json=as_json, change=f"accounts.retry {account_id}", reason=reason, dry=not yes)
    _told(made, "" if yes else f"allow {account_id} one more {made['step']}", as_json=as_json)


app.command("rebuild")(ops.rebuild_accounts)
