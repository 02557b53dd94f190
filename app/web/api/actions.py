"""What an internal service may ask of an enrolled account: each a 202, then visible behind `href` and among its objects."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field, model_validator
from starlette.responses import Response

from app.machines import bank_account, wallet_address
from app.ops import requests
from app.web import schemas
from app.web.api.accounts import AccountPath
from app.web.api.enrollments import Address, Country
from app.web.deps import Svc, Write, Writing
from app.web.problems import documented, wrong_fields
from app.wiring import Services

router = APIRouter(tags=["actions"])

Asked: dict[str, Any] = {
    "status_code": 202,
    "response_model": schemas.Accepted,
    "responses": documented(400, 401, 403, 404, 409, 422),
}
CardPath = Annotated[str, Path(description="The card.", examples=["ic_1"], max_length=255)]
SpendingInterval = Literal["per_authorization", "daily", "weekly", "monthly", "yearly", "all_time"]


class OnboardingLink(schemas.Body):
    """Where Stripe's hosted onboarding sends the holder afterwards."""

    refresh_url: str | None = Field(
        None,
        pattern=r"^https?://",
        max_length=2000,
        description="When the link expired.",
        examples=["https://example.com/again"],
    )
    return_url: str | None = Field(
        None,
        pattern=r"^https?://",
        max_length=2000,
        description="When the holder is done.",
        examples=["https://example.com/done"],
    )


class Wallet(schemas.Body):
    """A crypto wallet that USDC may be sent to."""

    network: str = Field(description=f"One of {', '.join(wallet_address.NETWORKS)}.", examples=["polygon"])
    address: str = Field(
        min_length=1, max_length=100, description="As the network writes it.",
        examples=["0x00000000000000000000000000000000000000aa"],
    )  # fmt: skip
    memo: str | None = Field(None, min_length=1, max_length=28, description="Stellar only.", examples=[None])


class BankAccount(schemas.Body):
    """A bank account that money may be sent to."""

    country: Country
    currency: str = Field(pattern=r"^[A-Za-z]{3}$", description="usd, mxn or eur.", examples=["mxn"])
    account_number: str = Field(
        min_length=1,
        max_length=40,
        description="CLABE (MX), account number (US) or IBAN.",
        examples=["032180000118359719"],
    )
    routing_number: str | None = Field(
        None, max_length=20, description="ABA routing number (US).", examples=["110000000"]
    )
    swift_code: str | None = Field(
        None, pattern=r"^[A-Z]{6}[A-Z0-9]{2}([A-Z0-9]{3})?$", description="BIC.", examples=["DEUTDEFF"]
    )
    branch_number: str | None = Field(None, max_length=20, description="Branch.", examples=["001"])
    bank_account_type: Literal["checking", "savings"] | None = Field(None, description="Kind.", examples=["checking"])


class Usdc(schemas.Positive):
    """An amount in USDC."""

    currency: Literal["usdc"] = Field(description="What leaves.", examples=["usdc"])


class Usd(schemas.Positive):
    """An amount in US dollars."""

    currency: Literal["usd"] = Field(description="What the platform pays.", examples=["usd"])


class Transfer(schemas.Body):
    """USDC leaves the account and arrives at one of its payout methods."""

    payout_method: str = Field(
        min_length=1, max_length=255, description="Wallet or bank account.", examples=["cwa_test_1"]
    )
    amount: Usdc
    currency: Literal["usdc", "usd", "mxn", "eur"] = Field(description="What arrives.", examples=["usdc"])
    description: str | None = Field(
        None, min_length=1, max_length=500, description="For the statement.", examples=["Rent"]
    )


class FundingRequest(schemas.Body):
    """US dollars of the platform become USDC on the account."""

    amount: Usd


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
    address: Address
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


async def _act(
    write: Write, services: Services, account_id: str, action: str, params: dict[str, Any], body: BaseModel | None
) -> Response:
    return await write.do(lambda conn: requests.act(conn, account_id, action, params, at_ms=services.clock()), body)


@router.post("/accounts/{account_id}/onboarding-links", **Asked)
async def make_onboarding_link(
    services: Svc, write: Writing, account_id: AccountPath, body: OnboardingLink | None = None
) -> Response:
    """Make a link to Stripe's hosted onboarding (KYC)."""
    base = services.settings.base_url
    asked = body or OnboardingLink()
    params = {
        "refresh_url": asked.refresh_url or f"{base}/onboarding/refresh",
        "return_url": asked.return_url or f"{base}/onboarding/done",
    }
    return await _act(write, services, account_id, "create_account_link", params, asked)


@router.post("/accounts/{account_id}/wallets", **Asked)
async def add_wallet(services: Svc, write: Writing, account_id: AccountPath, body: Wallet) -> Response:
    """Register a crypto wallet as a payout method. A malformed address is refused at once."""
    wrong_fields(wallet_address.faults(body.network, body.address, body.memo))
    wallet = body.model_dump(exclude_none=True)
    params = {"usage_intent": "transfer", "payout_method_data": {"type": "crypto_wallet", "crypto_wallet": wallet}}
    return await _act(write, services, account_id, "create_outbound_setup_intent", params, body)


@router.post("/accounts/{account_id}/bank-accounts", **Asked)
async def add_bank_account(services: Svc, write: Writing, account_id: AccountPath, body: BankAccount) -> Response:
    """Register a bank account as a payout method; its check digits are checked at once."""
    currency = body.currency.lower()
    wrong_fields(bank_account.faults(body.country, currency, body.account_number, body.routing_number))
    bank = {**body.model_dump(exclude_none=True), "currency": currency}
    params = {"usage_intent": "transfer", "payout_method_data": {"type": "bank_account", "bank_account": bank}}
    return await _act(write, services, account_id, "create_outbound_setup_intent", params, body)


@router.post("/accounts/{account_id}/transfers", **Asked)
async def make_transfer(services: Svc, write: Writing, account_id: AccountPath, body: Transfer) -> Response:
    """Send USDC to a payout method."""
    params = body.model_dump(exclude_none=True)
    params["to_currency"] = params.pop("currency")
    return await _act(write, services, account_id, "create_outbound_transfer", params, body)


@router.post("/accounts/{account_id}/fundings", **Asked)
async def make_funding(services: Svc, write: Writing, account_id: AccountPath, body: FundingRequest) -> Response:
    """Send money of the platform to the account, beside the first funding."""
    return await _act(write, services, account_id, "create_outbound_payment", body.model_dump(), body)


@router.post("/accounts/{account_id}/cards", **Asked)
async def make_card(services: Svc, write: Writing, account_id: AccountPath, body: CardRequest) -> Response:
    """Create one more card."""
    params = body.model_dump(exclude_none=True)
    return await _act(write, services, account_id, "create_card", params, body)


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
