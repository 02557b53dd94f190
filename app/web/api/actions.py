"""What an internal service may ask of an enrolled account: each a 202, then visible behind `href` and among its objects."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from app.machines import bank_account, wallet_address
from app.ops import payouts, requests
from app.web import schemas
from app.web.api.accounts import AccountPath
from app.web.api.enrollments import Country
from app.web.deps import Svc, Write, Writing
from app.web.problems import documented, wrong_fields
from app.wiring import Services

router = APIRouter(tags=["actions"])

Asked: dict[str, Any] = {
    "status_code": 202,
    "response_model": schemas.Accepted,
    "responses": documented(400, 401, 403, 404, 409, 422),
}


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

    def data(self) -> dict[str, Any]:
        """As Stripe's ``payout_method_data``. Raises BadInput for a malformed address."""
        wrong_fields(wallet_address.faults(self.network, self.address, self.memo))
        return {"type": "crypto_wallet", "crypto_wallet": self.model_dump(exclude_none=True)}


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

    def data(self) -> dict[str, Any]:
        """As Stripe's ``payout_method_data``. Raises BadInput when the check digits are wrong."""
        currency = self.currency.lower()
        wrong_fields(bank_account.faults(self.country, currency, self.account_number, self.routing_number))
        return {"type": "bank_account", "bank_account": {**self.model_dump(exclude_none=True), "currency": currency}}


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
    amount: Usdc = Field(description="What leaves.")
    currency: Literal["usdc", "usd", "mxn", "eur"] = Field(description="What arrives.", examples=["usdc"])
    description: str | None = Field(
        None, min_length=1, max_length=500, description="For the statement.", examples=["Rent"]
    )


class FundingRequest(schemas.Body):
    """US dollars of the platform become USDC on the account."""

    amount: Usd = Field(description="What the platform pays.")


async def act(
    write: Write, services: Services, account_id: str, action: str, params: dict[str, Any], body: BaseModel | None
) -> Response:
    """Ask for one thing of an account; ``action`` is a command kind."""
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
    return await act(write, services, account_id, "create_account_link", params, asked)


@router.post("/accounts/{account_id}/wallets", **Asked)
async def add_wallet(services: Svc, write: Writing, account_id: AccountPath, body: Wallet) -> Response:
    """Register a crypto wallet as a payout method. A malformed address is refused at once."""
    params = {"usage_intent": "transfer", "payout_method_data": body.data()}
    return await act(write, services, account_id, "create_outbound_setup_intent", params, body)


@router.post("/accounts/{account_id}/bank-accounts", **Asked)
async def add_bank_account(services: Svc, write: Writing, account_id: AccountPath, body: BankAccount) -> Response:
    """Register a bank account as a payout method; its check digits are checked at once."""
    params = {"usage_intent": "transfer", "payout_method_data": body.data()}
    return await act(write, services, account_id, "create_outbound_setup_intent", params, body)


@router.post("/accounts/{account_id}/transfers", **Asked)
async def make_transfer(services: Svc, write: Writing, account_id: AccountPath, body: Transfer) -> Response:
    """Send USDC to a payout method; one that is known not to take it is refused at once."""
    params = body.model_dump(exclude_none=True)
    params["to_currency"] = params.pop("currency")
    return await write.do(lambda conn: payouts.transfer(conn, account_id, params, at_ms=services.clock()), body)


@router.post("/accounts/{account_id}/fundings", **Asked)
async def make_funding(services: Svc, write: Writing, account_id: AccountPath, body: FundingRequest) -> Response:
    """Send money of the platform to the account, beside the first funding."""
    return await act(write, services, account_id, "create_outbound_payment", body.model_dump(), body)
