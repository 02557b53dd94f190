"""The platform: its own financial account, where money comes in, and funding that waits for it."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from app.store import platform as store
from app.store.views import parsed
from app.web import schemas, shown
from app.web.deps import Json, Principal, Reader, Svc, reading
from app.web.problems import documented

router = APIRouter(tags=["platform"])
VISIBLE_DIGITS = 4
SECRET_FIELDS = frozenset({"account_number", "iban", "address", "routing_number"})


class FundingWaiting(BaseModel):
    """Fundings that have not reached Stripe yet."""

    count: int = Field(description="How many.", examples=[0])
    amount: schemas.Money = Field(description="How much, together.")
    oldest: schemas.Time | None = Field(description="Since when the oldest waits.", examples=["2026-11-24T10:00:00Z"])


class Platform(BaseModel):
    """Where the programme's money is."""

    account: schemas.AccountId
    financial_account: schemas.FinancialAccount | None = Field(description="The account that funds the others.")
    balance: dict[str, Any] | None = Field(
        description="Minor units per currency, as last read.", examples=[{"available": {"usd": 1_000_000}}]
    )
    addresses: list[dict[str, Any]] = Field(description="Where money comes in; masked below `admin`.", examples=[[]])
    funding_waiting: FundingWaiting = Field(description="Fundings still to come.")
    brakes: list[schemas.Brake] = Field(description="Steps that stand still.")


@router.get("/platform", response_model=Platform, responses=documented(401, 403))
async def read_platform(services: Svc, who: Reader) -> Response:
    """Balance, addresses and waiting fundings of the platform."""
    async with reading(services) as conn:
        account = await store.financial_account(conn, services.platform_account, services.platform_financial_account)
        addresses = await store.addresses(conn, services.platform_account)
        waiting = await store.funding_waiting(conn)
        brakes = await store.brakes(conn)
    own = services.platform_financial_account
    shown_account = None if own is None else {"id": own, "status": "unknown"}
    balance = None
    if account is not None:
        shown_account = {"id": account["object_id"], "status": account["state"]}
        balance = parsed(account["data"]).get("balance")
    return Json(
        {
            "account": services.platform_account,
            "financial_account": shown_account,
            "balance": balance,
            "addresses": [_address(shown.thing(row), who) for row in addresses],
            "funding_waiting": {
                "count": waiting["count"],
                "amount": shown.money(waiting["amount"], "usd"),
                "oldest": waiting["oldest"],
            },
            "brakes": [{**row, "on": True} for row in brakes],
        }
    )


def _address(value: dict[str, Any], who: Principal) -> dict[str, Any]:
    masked = value if who.may("admin") else mask(value)
    assert isinstance(masked, dict)
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
