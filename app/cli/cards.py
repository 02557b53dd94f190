"""`cardrail cards`: look at a card, and stop, thaw or cancel it, as the API does."""

from typing import Annotated, Any

import typer

from app.cli.desk import AsJson, Desk, WhyOption, Yes, at_desk, show_rows, show_thing, would
from app.errors import NotFound
from app.machines.events import Json
from app.ops import cards, linked, requests
from app.store import views
from app.web import shown

app = typer.Typer(no_args_is_help=True)

Account = Annotated[str, typer.Argument(metavar="ACCT", help="The account.")]
Card = Annotated[str, typer.Argument(metavar="CARD", help="The card.")]
LISTED_MAX = 200


@app.command("list")
def every(account_id: Account, as_json: AsJson = False) -> None:
    """The cards of an account."""

    async def work(desk: Desk) -> list[dict[str, Any]]:
        rows = await views.objects(desk.conn, account_id, limit=LISTED_MAX, kind="card")
        return [shown.thing(row) for row in rows]

    columns = ["id", "state", "type", "last4", "cardholder", "shipping"]
    show_rows(at_desk(work, as_json=as_json), columns, as_json=as_json)


@app.command()
def show(account_id: Account, card: Card, as_json: AsJson = False) -> None:
    """One card and what belongs to it."""

    async def work(desk: Desk) -> dict[str, Any]:
        row = await views.object_of(desk.conn, account_id, card)
        if row is None or row["kind"] != "card":
            raise NotFound(f"The account {account_id} has no card {card}.")
        thing = shown.thing(row)
        first = {name: thing[name] for name in ("id", "kind", "state")}
        return {**first, **thing, **await linked.linked(desk.conn, account_id, card, "card")}

    show_thing(at_desk(work, as_json=as_json), as_json=as_json)


@app.command()
def freeze(account_id: Account, card: Card, reason: WhyOption, yes: Yes = False, as_json: AsJson = False) -> None:
    """Stop a card; `thaw` brings it back."""
    _change("freeze", account_id, card, {"status": "inactive"}, reason=reason, yes=yes, as_json=as_json)


@app.command()
def thaw(account_id: Account, card: Card, reason: WhyOption, yes: Yes = False, as_json: AsJson = False) -> None:
    """Bring a frozen card back."""
    _change("thaw", account_id, card, {"status": "active"}, reason=reason, yes=yes, as_json=as_json)


@app.command()
def cancel(account_id: Account, card: Card, reason: WhyOption, yes: Yes = False, as_json: AsJson = False) -> None:
    """Cancel a card for good; the reasons lost and stolen are told to Stripe."""
    to: Json = {"status": "canceled"}
    if reason.lower() in ("lost", "stolen"):
        to["cancellation_reason"] = reason.lower()
    _change("cancel", account_id, card, to, reason=reason, yes=yes, as_json=as_json)


def _change(verb: str, account_id: str, card: str, to: Json, *, reason: str, yes: bool, as_json: bool) -> None:
    async def work(desk: Desk) -> dict[str, Any]:
        await cards.changeable(desk.conn, account_id, card)
        if not yes:
            return {}
        made = await cards.change(desk.conn, account_id, card, to, at_ms=desk.now_ms())
        stopped = await requests.standing_still(desk.conn, account_id, "update_card")
        return {**made, "waits_for": stopped} if stopped else made

    change = f"cards.{verb} {account_id}/{card}" if yes else ""
    made = at_desk(work, as_json=as_json, change=change, reason=reason)
    if yes:
        show_thing(made, as_json=as_json)
    else:
        would(f"{verb} the card {card} of {account_id}", as_json=as_json)
