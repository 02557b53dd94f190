"""Cards: created, frozen, thawed and cancelled on request; each a 202, then visible behind `href` and among the objects."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field, model_validator
from starlette.responses import Response

from app.ops import requests
from app.web import schemas
from app.web.api.accounts import AccountPath
from app.web.api.actions import Asked, act
from app.web.api.enrollments import Address
from app.web.deps import Svc, Write, Writing
from app.wiring import Services

router = APIRouter(tags=["cards"])

CardPath = Annotated[str, Path(description="The card.", examples=["ic_1"], max_length=255)]
SpendingInterval = Literal["per_authorization", "daily", "weekly", "monthly", "yearly", "all_time"]


class SpendingLimit(schemas.Body):
    """A ceiling on spending."""

    amount: int = Field(gt=0, strict=True, description="Minor units.", examples=[200_000])
    interval: SpendingInterval = Field(description="Over what.", examples=["daily"])
    categories: list[str] = Field(default_factory=list, description="Merchant categories; empty: all.", examples=[[]])


class SpendingControls(schemas.Body):
    """Stripe's own spending controls of a card."""

    allowed_categories: list[str] | None = Field(None, description="Only these.", examples=[None])
    blocked_categories: list[str] | None = Field(None, description="None of these.", examples=[["gambling"]])
    allowed_merchant_countries: list[str] | None = Field(None, description="Only these.", examples=[None])
    blocked_merchant_countries: list[str] | None = Field(None, description="None of these.", examples=[None])
    spending_limits: list[SpendingLimit] | None = Field(None, description="Ceilings.")

    @model_validator(mode="after")
    def _one_list_each(self) -> "SpendingControls":
        if self.allowed_categories and self.blocked_categories:
            raise ValueError("allowed_categories and blocked_categories exclude each other")
        if self.allowed_merchant_countries and self.blocked_merchant_countries:
            raise ValueError("allowed_merchant_countries and blocked_merchant_countries exclude each other")
        return self


class Shipping(schemas.Body):
    """Where a physical card is sent."""

    name: str = Field(min_length=1, max_length=100, description="Recipient.", examples=["Ana Demo"])
    address: Address = Field(description="Where to.")
    service: Literal["standard", "express", "priority"] | None = Field(
        None, description="Speed.", examples=["standard"]
    )


class CardRequest(schemas.Body):
    """One more card."""

    type: Literal["virtual", "physical"] = Field(description="Kind of card.", examples=["virtual"])
    shipping: Shipping | None = Field(None, description="Needed for a physical card.")
    spending_controls: SpendingControls | None = Field(None, description="Limits of this card.")

    @model_validator(mode="after")
    def _physical_cards_are_shipped(self) -> "CardRequest":
        if self.type == "physical" and self.shipping is None:
            raise ValueError("shipping: a physical card needs an address")
        if self.type == "virtual" and self.shipping is not None:
            raise ValueError("shipping: a virtual card is not shipped")
        return self


class Cancellation(schemas.Reason):
    """Why a card is cancelled; `lost` and `stolen` are told to Stripe."""


@router.post("/accounts/{account_id}/cards", **Asked)
async def make_card(services: Svc, write: Writing, account_id: AccountPath, body: CardRequest) -> Response:
    """Create one more card."""
    params = body.model_dump(exclude_none=True)
    return await act(write, services, account_id, "create_card", params, body)


@router.post("/accounts/{account_id}/cards/{card}/freezes", **Asked)
async def freeze_card(
    services: Svc, write: Writing, account_id: AccountPath, card: CardPath, body: schemas.Reason
) -> Response:
    """Stop a card; a thaw brings it back."""
    return await _card(write, services, account_id, card, {"status": "inactive"}, body, body.reason)


@router.delete("/accounts/{account_id}/cards/{card}/freezes", **Asked)
async def thaw_card(services: Svc, write: Writing, account_id: AccountPath, card: CardPath) -> Response:
    """Bring a frozen card back."""
    return await _card(write, services, account_id, card, {"status": "active"}, None, None)


@router.post("/accounts/{account_id}/cards/{card}/cancellations", **Asked)
async def cancel_card(
    services: Svc, write: Writing, account_id: AccountPath, card: CardPath, body: Cancellation
) -> Response:
    """Cancel a card for good."""
    params = {"status": "canceled"}
    if body.reason in ("lost", "stolen"):
        params["cancellation_reason"] = body.reason
    return await _card(write, services, account_id, card, params, body, body.reason)


async def _card(
    write: Write,
    services: Services,
    account_id: str,
    card: str,
    change: dict[str, str],
    body: BaseModel | None,
    reason: str | None,
) -> Response:
    params = {"card": card, **change}
    return await write.do(
        lambda conn: requests.act_on_object(
            conn, account_id, card, "update_card", params, kind="card", at_ms=services.clock()
        ),
        body,
        reason=reason,
    )
