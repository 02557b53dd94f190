"""The platform: its own financial account, where money comes in, and funding that waits for it.

Account numbers are not stored: an administrator's read asks Stripe for them, in the words of the API version.
"""

import asyncio
from typing import Any, Literal, Self

from fastapi import APIRouter
from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from app.flow.readings import PATHS
from app.machines.wallet_address import NETWORKS
from app.ops import platform as asking
from app.store import alerts
from app.store import platform as store
from app.store.views import parsed
from app.stripe.client import Reading
from app.stripe.fields import at
from app.stripe.requests import address_include
from app.web import schemas, shown
from app.web.api.actions import Usd
from app.web.api.health_alerts import HealthAlert
from app.web.deps import AdminWriting, Json, Reader, Svc, reading
from app.web.doorkeeper import Principal
from app.web.problems import documented
from app.wiring import Services

router = APIRouter(tags=["platform"])
VISIBLE_DIGITS = 4
SECRET_FIELDS = frozenset({"account_number", "iban", "address", "routing_number"})
LIVE_MAX = 20
LIVE_TIMEOUT_S = 4.0
Asked: dict[str, Any] = {
    "status_code": 202,
    "response_model": schemas.Accepted,
    "responses": documented(400, 401, 403, 409, 422),
}


class WaitingFundings(BaseModel):
    """Fundings that wait for one reason."""

    count: int = Field(description="How many.", examples=[0])
    amount: schemas.Money = Field(description="How much, together.")


class FundingWaiting(WaitingFundings):
    """Fundings that have not reached Stripe yet."""

    oldest: schemas.Time | None = Field(description="Since when the oldest waits.", examples=["2026-11-24T10:00:00Z"])
    for_balance: WaitingFundings = Field(description="Those that wait until the platform has more money.")


class LowBalance(BaseModel):
    """Whether the platform holds less than the programme wants it to."""

    threshold: schemas.Money = Field(description="Below it the balance is low; 0: never.")
    low: bool = Field(description="True below the threshold.", examples=[False])


class Platform(BaseModel):
    """Where the programme's money is."""

    account: schemas.AccountId
    financial_account: schemas.FinancialAccount | None = Field(description="The account that funds the others.")
    balance: dict[str, dict[str, schemas.Money]] | None = Field(
        description="Available, inbound_pending and outbound_pending per currency, as last read.",
        examples=[{"available": {"usd": {"value": 1_000_000, "currency": "usd"}}}],
    )
    balance_at: schemas.Time | None = Field(
        description="When the balance last differed.", examples=["2026-11-24T10:00:00Z"]
    )
    low_balance: LowBalance = Field(description="Whether more money is needed.")
    addresses: list[dict[str, Any]] = Field(
        description="Where money comes in, each with `credentials`; masked below `admin`.", examples=[[]]
    )
    funding_waiting: FundingWaiting = Field(description="Fundings still to come.")
    brakes: list[schemas.Brake] = Field(description="Steps that stand still.")
    health_alerts: list[HealthAlert] = Field(description="What Stripe says is wrong now.", examples=[[]])


class AddressRequest(schemas.Body):
    """A place where money can come in."""

    type: Literal["bank_account", "crypto_wallet"] = Field(
        "bank_account", description="Kind of address.", examples=["bank_account"]
    )
    currency: Literal["usd", "gbp", "eur", "cad", "mxn"] = Field(
        "usd", description="Of a bank account: what comes in.", examples=["usd"]
    )
    country: str | None = Field(
        None, pattern=r"^[A-Z]{2}$", description="Of a bank account, where it matters (eur).", examples=[None]
    )
    network: str | None = Field(
        None, description=f"Of a crypto wallet: one of {', '.join(NETWORKS)}.", examples=[None], max_length=40
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.type == "crypto_wallet" and self.network not in NETWORKS:
            text = f"network: one of {', '.join(NETWORKS)} is needed"
            raise PydanticCustomError("network", "{text}", {"text": text})
        if self.type == "bank_account" and self.network is not None:
            raise PydanticCustomError("network", "a bank account has no network")
        return self


class PullRequest(schemas.Body):
    """Money pulled from a bank account of the platform's own."""

    payment_method: str = Field(
        min_length=1, max_length=255, description="Stripe's id of the bank account.", examples=["usba_test_65SDemo"]
    )
    amount: Usd = Field(description="How much, in US cents.")
    description: str | None = Field(
        None, min_length=1, max_length=500, description="For the statement.", examples=["Top up"]
    )


@router.get("/platform", response_model=Platform, responses=documented(401, 403))
async def read_platform(services: Svc, who: Reader) -> Response:
    """Balance, addresses and waiting fundings of the platform."""
    own = services.platform_financial_account
    async with reading(services) as conn:
        account = await store.financial_account(conn, services.platform_account, own)
        addresses = [shown.thing(row) for row in await store.addresses(conn, services.platform_account)]
        waiting = await store.funding_waiting(conn)
        brakes = await store.brakes(conn)
        open_alerts = await alerts.firing(conn, services.platform_account)
    if who.may("admin"):
        await _numbers(services, addresses)
    shown_account = None if own is None else {"id": own, "status": "unknown"}
    balance = None
    if account is not None:
        shown_account = {"id": account["object_id"], "status": account["state"]}
        balance = parsed(account["data"]).get("balance")
    usd = ((balance or {}).get("available") or {}).get("usd")
    threshold = services.programme.platform.low_balance
    return Json(
        {
            "account": services.platform_account,
            "financial_account": shown_account,
            "balance": shown.moneys(balance),
            "balance_at": None if account is None else account["observed_at"],
            "low_balance": {"threshold": shown.money(threshold, "usd"), "low": usd is not None and usd < threshold},
            "addresses": [_address(address, who) for address in addresses],
            "funding_waiting": {
                "count": waiting["count"],
                "amount": shown.money(waiting["amount"], "usd"),
                "oldest": waiting["oldest"],
                "for_balance": {
                    "count": waiting["short_count"],
                    "amount": shown.money(waiting["short_amount"], "usd"),
                },
            },
            "brakes": [{**row, "on": True} for row in brakes],
            "health_alerts": [shown.health_alert(row) for row in open_alerts],
        }
    )


@router.post("/platform/addresses", **Asked)
async def make_address(services: Svc, write: AdminWriting, body: AddressRequest | None = None) -> Response:
    """Ask for a place where money can come in. One that is there or under way is not made again."""
    asked = body or AddressRequest()
    params = asked.model_dump(exclude_none=True)
    if asked.type == "crypto_wallet":
        params.pop("currency")
    platform, at_ms = services.platform_account, services.clock()
    return await write.do(lambda conn: asking.address(conn, platform, params, at_ms=at_ms), asked)


@router.post("/platform/inbound-transfers", **Asked)
async def pull_money(services: Svc, write: AdminWriting, body: PullRequest) -> Response:
    """Pull US dollars from a bank account of the platform's own."""
    params = body.model_dump(exclude_none=True)
    platform, at_ms = services.platform_account, services.clock()
    return await write.do(lambda conn: asking.pull(conn, platform, params, at_ms=at_ms), body)


async def _numbers(services: Services, addresses: list[dict[str, Any]]) -> None:
    """Put Stripe's credentials into what is shown, of at most ``LIVE_MAX`` active addresses, in bounded time."""
    version = services.settings.stripe_api_version

    async def one(address: dict[str, Any]) -> None:
        known = address.get("credentials") or {}
        include = address_include(version, str(known.get("type")))
        answer = await services.stripe.read(PATHS["financial_address"] + address["id"], context=None, include=include)
        if isinstance(answer, Reading):
            address["credentials"] = credentials(answer.object) or known

    active = [a for a in addresses if a["state"] == "active"][:LIVE_MAX]
    try:
        async with asyncio.timeout(LIVE_TIMEOUT_S):
            await asyncio.gather(*(one(a) for a in active))
    except TimeoutError:
        return


def credentials(raw: dict[str, Any]) -> dict[str, Any] | None:
    """How money is sent to an address, of either shape as one: ``{type, account_number, routing_number, ...}``."""
    old = at(raw, "credentials")
    wallet = at(raw, "crypto_wallet") or at(old, "crypto_wallet")
    if isinstance(wallet, dict):
        return {"type": "crypto_wallet", **{k: wallet.get(k) for k in ("address", "network", "memo")}}
    bank = at(raw, "bank_account") or old
    kind = at(bank, "type")
    details = at(bank, str(kind))
    return {"type": kind, **details} if isinstance(details, dict) else None


def _address(value: dict[str, Any], who: Principal) -> dict[str, Any]:
    masked = value if who.may("admin") else mask(value)
    assert isinstance(masked, dict)
    known = masked.get("credentials")
    if isinstance(known, dict) and known.get("last4"):
        number = "iban" if "sepa" in str(known.get("type")) else "account_number"
        masked["credentials"] = {number: "*" * 8 + known["last4"], **known}
    return masked


def mask(value: object, name: str = "") -> object:
    """The value with all but the last digits of account numbers and addresses hidden."""
    if isinstance(value, dict):
        return {k: mask(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [mask(v, name) for v in value]
    if name in SECRET_FIELDS and isinstance(value, str):
        return "*" * max(len(value) - VISIBLE_DIGITS, 4) + value[-VISIBLE_DIGITS:]
    return value
