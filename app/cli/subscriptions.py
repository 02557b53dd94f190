"""`cardrail subscriptions`: whom notices are pushed to, and how that goes."""

import asyncio
from typing import Annotated, Any, Literal

import typer

from app.cli.desk import WHY, AsJson, Desk, Limit, WhyOption, Yes, at_desk, err, moment, show_rows, show_thing, would
from app.flow import receivers
from app.ops import subscriptions
from app.store import notices
from app.store import subscriptions as stored

app = typer.Typer(no_args_is_help=True)

SubscriptionId = Annotated[str, typer.Argument(metavar="SUB", help="The subscription.")]
ROWS_MAX = 1_000


@app.command("list")
def every(as_json: AsJson = False) -> None:
    """All subscriptions, without their secrets."""

    async def work(desk: Desk) -> list[dict[str, Any]]:
        return [subscriptions.shown(row) for row in await stored.every(desk.conn, limit=ROWS_MAX)]

    columns = ["id", "url", "types", "accounts", "enabled", "disabled_reason", "failing_since"]
    show_rows(at_desk(work, as_json=as_json), columns, as_json=as_json)


@app.command()
def create(
    url: Annotated[str, typer.Option(help="Where notices are posted to.")],
    types: Annotated[list[str], typer.Option("--type", help="Type of notice, card.* or *; repeat it for more.")],
    accounts: Annotated[
        list[str] | None, typer.Option("--account", help="Only of this account; repeat it for more.")
    ] = None,
    description: Annotated[str | None, typer.Option(help="For humans.")] = None,
    reason: WhyOption = WHY,
    as_json: AsJson = False,
) -> None:
    """Subscribe to notices from now on. The secret is shown once and never again."""

    async def work(desk: Desk) -> dict[str, Any]:
        await receivers.check(url, subscriptions.allowed(desk.settings))
        return await subscriptions.create(
            desk.conn, url=url, types=types, accounts=accounts or None, description=description
        )

    show_thing(at_desk(work, as_json=as_json, change=f"subscriptions.create {url}", reason=reason), as_json=as_json)
    if not as_json:
        err.print("Keep the secret now: it cannot be shown again.", style="yellow")


@app.command("test")
def send_test(
    subscription_id: SubscriptionId,
    wait_s: Annotated[float, typer.Option(min=0, max=60, help="How long to wait for the delivery.")] = 5,
    reason: WhyOption = WHY,
    as_json: AsJson = False,
) -> None:
    """Send a test notice through a running worker; exit 1 when it was not delivered in time."""

    async def ask(desk: Desk) -> dict[str, Any]:
        return await subscriptions.test(desk.conn, subscription_id, platform=desk.platform)

    async def look(desk: Desk) -> dict[str, Any]:
        ends = desk.now_ms() + wait_s * 1000
        while True:
            row = await notices.find(desk.conn, subscription_id, made["id"])
            assert row is not None
            if row["status"] in {"delivered", "failed"} or row["error"] or desk.now_ms() >= ends:
                return subscriptions.shown_delivery(row)
            await asyncio.sleep(0.1)

    made = at_desk(ask, as_json=as_json, change=f"subscriptions.test {subscription_id}", reason=reason, platform=True)
    found = at_desk(look, as_json=as_json)
    show_thing(found, as_json=as_json)
    raise typer.Exit(0 if found["status"] == "delivered" else 1)


@app.command()
def enable(subscription_id: SubscriptionId, reason: WhyOption = WHY, as_json: AsJson = False) -> None:
    """Go on where it stopped, and try at once what had failed."""

    async def work(desk: Desk) -> dict[str, Any]:
        return await subscriptions.change(desk.conn, subscription_id, {"enabled": True})

    done = at_desk(work, as_json=as_json, change=f"subscriptions.enable {subscription_id}", reason=reason)
    show_thing(done, as_json=as_json)


@app.command()
def deliveries(
    subscription_id: SubscriptionId,
    status: Annotated[
        Literal["pending", "in_flight", "delivered", "failed", "failing"] | None,
        typer.Option(help="Only in this status; failing: the last attempt failed, and another follows."),
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """What was sent, newest first: the receiver's status, the error, and when it is tried again."""

    async def work(desk: Desk) -> list[dict[str, Any]]:
        await subscriptions.find(desk.conn, subscription_id)
        rows = await notices.newest(desk.conn, subscription_id, limit=limit, status=status)
        return [subscriptions.shown_delivery(row) for row in rows]

    columns = ["id", "type", "account", "status", "attempts", "response_code", "error", "due_at", "created"]
    show_rows(at_desk(work, as_json=as_json), columns, as_json=as_json)


@app.command()
def replay(
    subscription_id: SubscriptionId,
    since: Annotated[str, typer.Option(help="RFC 3339: what happened then or later is sent again.")],
    reason: WhyOption = WHY,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Send everything since then once more, also what came while it was disabled."""
    at = moment(since)

    async def work(desk: Desk) -> dict[str, Any]:
        found = await subscriptions.find(desk.conn, subscription_id)
        return await subscriptions.replay(desk.conn, subscription_id, at) if yes else found

    change = f"subscriptions.replay {subscription_id}" if yes else ""
    made = at_desk(work, as_json=as_json, change=change, reason=reason)
    if not yes:
        would(f"send all notices since {at.isoformat()} once more to {made['url']}", as_json=as_json)
        return
    show_thing(made, as_json=as_json)


@app.command()
def delete(subscription_id: SubscriptionId, reason: WhyOption = WHY, yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete a subscription with its deliveries."""

    async def work(desk: Desk) -> dict[str, Any]:
        return {
            **await subscriptions.find(desk.conn, subscription_id),
            **await subscriptions.remove(desk.conn, subscription_id),
        }

    change = f"subscriptions.delete {subscription_id}"
    done = at_desk(work, as_json=as_json, change=change, reason=reason, dry=not yes)
    if not yes:
        would(f"delete {subscription_id} to {done['url']} with its deliveries", as_json=as_json)
        return
    show_thing({name: done[name] for name in ("id", "state")}, as_json=as_json)
