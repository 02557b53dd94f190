"""`cardrail simulate`: what a merchant would do, against the sandbox only."""

import math
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import httpx
import typer

from app.cli.desk import AsJson, ending, out, settings, show_json, show_thing
from app.config import LOOPBACK, SANDBOX_KEY, Settings
from app.errors import BadInput, NotFound, Unavailable

app = typer.Typer(no_args_is_help=True)

TIMEOUT_S = 10.0
Check = Literal["match", "mismatch", "not_provided"]


@app.command()
def purchase(
    account: Annotated[str, typer.Option(metavar="ACCT", help="Whose card is used.")],
    amount: Annotated[int, typer.Option(min=1, help="Cents.")],
    card: Annotated[str | None, typer.Option(metavar="IC", help="The card; absent: its first active one.")] = None,
    currency: Annotated[str, typer.Option(help="The merchant's currency; the card's is usd.")] = "usd",
    merchant_category: Annotated[
        str, typer.Option(help="Stripe's word, like automated_cash_disburse.")
    ] = "eating_places_restaurants",
    country: Annotated[str, typer.Option(help="The merchant's country.")] = "US",
    merchant_name: Annotated[str, typer.Option(help="The merchant's name.")] = "SANDBOX CAFE",
    method: Annotated[
        Literal["online", "keyed_in", "chip", "contactless", "swipe"], typer.Option(help="How the card is used.")
    ] = "online",
    pin: Annotated[Literal["correct", "wrong"] | None, typer.Option(help="A PIN is entered, and is.")] = None,
    cvc: Annotated[Check, typer.Option(help="What checking the CVC gave.")] = "match",
    expiry: Annotated[Check, typer.Option(help="What checking the expiry date gave.")] = "match",
    postal_code: Annotated[Check, typer.Option("--zip", help="What checking the postal code gave.")] = "not_provided",
    address: Annotated[Check, typer.Option(help="What checking the first line gave.")] = "not_provided",
    three_d_secure: Annotated[bool, typer.Option("--3ds", help="The holder was authenticated by 3-D Secure.")] = False,
    partial: Annotated[bool, typer.Option("--partial", help="The merchant takes less as well.")] = False,
    capture: Annotated[bool, typer.Option("--capture/--no-capture", help="Take the money, or only hold it.")] = True,
    as_json: AsJson = False,
) -> None:
    """One purchase; prints what Stripe and we decided, and how long we took."""
    checks = {"cvc_check": cvc, "expiry_check": expiry, "address_postal_code_check": postal_code}
    authenticated = {"result": "authenticated"} if three_d_secure else None
    body = {
        "account": account,
        "card": card,
        "amount": amount,
        "merchant_currency": currency.lower(),
        "merchant_data": {
            "category": merchant_category,
            "category_code": None,
            "country": country.upper(),
            "name": merchant_name,
        },
        "authorization_method": method,
        "verification_data": {**checks, "address_line1_check": address, "three_d_secure": authenticated},
        "pin": pin,
        "is_amount_controllable": partial,
        "capture": capture,
    }
    done = ending(lambda: _purchase(settings(), body), as_json=as_json)
    if as_json:
        show_json(done)
        return
    show_thing({name: value for name, value in done.items() if name != "authorization_object"}, as_json=False)
    if done["asked"] and not done["answered_in_time"]:
        out.print("We did not answer within 2 s, or not in a form that counts: the default of Stripe's side decided.")


def _purchase(given: Settings, body: dict[str, Any]) -> dict[str, Any]:
    """The outcome; ``decided_by_us`` is our answer as Stripe took it, null when Stripe did not ask or not hear it."""
    local = given.uses_sandbox or urlsplit(given.api_base).hostname in LOOPBACK
    if given.stripe_api_key != SANDBOX_KEY or not local:
        raise BadInput(
            "Purchases are only simulated against the sandbox, and Stripe is not one.", code="not_the_sandbox"
        )
    try:
        answer = httpx.post(f"{given.api_base}/_sandbox/purchases", json=body, timeout=TIMEOUT_S)
        told = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise Unavailable(f"The sandbox at {given.api_base} does not answer: {type(error).__name__}.") from error
    if not answer.is_success:
        message = str((told.get("error") or {}).get("message") or "The sandbox refused.")
        raise NotFound(message) if answer.status_code == 404 else BadInput(message)
    reason, thing = str(told["reason"]), told["authorization"]
    heard = reason in ("webhook_approved", "webhook_declined") or (told["asked"] and not reason.startswith("webhook_"))
    return {
        "authorization": thing["id"],
        "account": body["account"],
        "card": thing["card"]["id"],
        "outcome": "approved" if told["approved"] else "declined",
        "approved": told["approved"],
        "stripe_reason": reason,
        "reason_message": told["reason_message"],
        "asked": told["asked"],
        "answered_in_time": told["asked"] and heard,
        "decided_by_us": reason == "webhook_approved" if heard else None,
        "rule": thing["metadata"].get("rule"),
        "decision": thing["metadata"].get("decision"),
        "amount": {"value": thing["amount"], "currency": "usd"},
        "latency_ms": math.ceil(told["latency_ms"] * 1000) / 1000,
        "captured": told["transaction"] and told["transaction"]["id"],
        "authorization_object": thing,
    }
