"""Cards: created, replaced, frozen, limited and cancelled on request; each a 202, then visible among the objects.

A new PIN and the key for Issuing Elements pass through to Stripe and are answered at once: nothing of them is kept.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import asyncpg
from fastapi import APIRouter, Path
from pydantic import BaseModel, Field, model_validator
from starlette.responses import Response

from app.machines.events import Json as Params
from app.ops import card_secrets, cards
from app.web import schemas
from app.web.api.accounts import AccountPath
from app.web.api.actions import Asked
from app.web.api.enrollments import Address
from app.web.api.spending import SpendingControls
from app.web.claims import nothing
from app.web.deps import Svc, Write, Writing
from app.web.problems import documented
from app.web.reasons import Why, words

router = APIRouter(tags=["cards"])

CardPath = Annotated[str, Path(description="The card.", examples=["ic_1"], max_length=255)]
UNKEPT: dict[str, Any] = {"status": 200, "headers": {"Cache-Control": "no-store"}, "keep": nothing}
Passed: dict[str, Any] = {"status_code": 200, "responses": documented(400, 401, 403, 404, 409, 422, 503)}


class Customs(schemas.Body):
    """What customs ask for."""

    eori_number: str = Field(min_length=2, max_length=20, description="EORI number.", examples=["MX123456789"])


class AddressValidation(schemas.Body):
    """Whether Stripe checks the address."""

    mode: Literal["disabled", "normalization_only", "validation_and_normalization"] = Field(
        description="How far.", examples=["validation_and_normalization"]
    )


class Shipping(schemas.Body):
    """Where a physical card is sent. Cards ship from the US, so never by standard post."""

    name: str = Field(min_length=1, max_length=100, description="Recipient.", examples=["Ana Demo"])
    address: Address = Field(description="Where to.")
    service: Literal["express", "priority"] = Field("priority", description="Speed.", examples=["priority"])
    type: Literal["individual", "bulk"] | None = Field(None, description="One card or many.", examples=["individual"])
    phone_number: str | None = Field(None, max_length=30, description="E.164.", examples=["+525555555555"])
    require_signature: bool | None = Field(None, description="Handed over against a signature.", examples=[True])
    business_name: str | None = Field(None, max_length=100, description="Of a company.", examples=["Taller Demo"])
    customs: Customs | None = Field(None, description="For customs.")
    address_validation: AddressValidation | None = Field(None, description="Whether to check the address.")


Status = Literal["active", "inactive"]


class CardRequest(schemas.Body):
    """One more card."""

    type: Literal["virtual", "physical"] = Field(description="Kind of card.", examples=["virtual"])
    cardholder: str | None = Field(
        None, min_length=1, max_length=255, description="Whose; the account's first if absent.", examples=["ich_1"]
    )
    status: Status | None = Field(
        None, description="`inactive`: to be activated later; `active` if absent.", examples=["active"]
    )
    shipping: Shipping | None = Field(None, description="Needed for a physical card.", examples=[None])
    spending_controls: SpendingControls | None = Field(None, description="Limits of this card.")
    personalization_design: str | None = Field(
        None, max_length=255, description="How a physical card looks.", examples=[None]
    )
    second_line: str | None = Field(
        None, min_length=1, max_length=24, description="Second line on a physical card.", examples=[None]
    )

    @model_validator(mode="after")
    def _physical_cards_are_shipped(self) -> "CardRequest":
        if self.type == "physical" and self.shipping is None:
            raise ValueError("shipping: a physical card needs an address")
        if self.type == "virtual" and (self.shipping or self.personalization_design or self.second_line):
            raise ValueError("shipping: a virtual card is not made of plastic")
        return self


class Replacement(schemas.Body):
    """A new card in place of another; a lost or stolen one stops at once."""

    reason: Literal["lost", "stolen", "damaged", "expired"] = Field(description="Why.", examples=["damaged"])
    shipping: Shipping | None = Field(None, description="Needed when the card is physical.", examples=[None])
    status: Status | None = Field(
        None, description="If absent: a virtual card is active, a physical one to be activated.", examples=["active"]
    )


class Cancellation(schemas.Reason):
    """Why a card is cancelled; `lost` and `stolen` are told to Stripe."""


class PinChange(schemas.Body):
    """A new PIN, already encrypted with Stripe's public key. A PIN in clear is not taken."""

    encrypted_number: str = Field(
        min_length=64, max_length=10_000, description="As Stripe describes it.", examples=["eyJ" + "a" * 80]
    )


class PinChanged(BaseModel):
    """Stripe took the new PIN."""

    card: str = Field(description="The card.", examples=["ic_1"])
    changed: Literal[True] = Field(description="It did.", examples=[True])


class EphemeralKeyRequest(schemas.Body):
    """What Issuing Elements made on the holder's device."""

    nonce: str = Field(min_length=1, max_length=500, description="Used once.", examples=["nonce_1"])


class EphemeralKey(BaseModel):
    """A key that shows one card for some minutes. It is kept nowhere here."""

    id: str = Field(description="Its id.", examples=["ephkey_1"])
    card: str = Field(description="The card.", examples=["ic_1"])
    secret: str = Field(description="For the holder's device alone.", examples=["ek_test_1"])
    expires: int = Field(description="Unix time in seconds.", examples=[1_790_000_000])
    stripe_version: str = Field(description="API version it is made for.", examples=["2026-10-14.preview"])


Ask = Callable[[asyncpg.Connection, int], Awaitable[dict[str, Any]]]


async def ask(services: Svc, write: Write, work: Ask, body: BaseModel | None, reason: str | None = None) -> Response:
    """One write whose ``work`` gets the connection and the time."""
    return await write.do(lambda conn: work(conn, services.clock()), body, reason=reason)


@router.post("/accounts/{account_id}/cards", **Asked)
async def make_card(services: Svc, write: Writing, account_id: AccountPath, body: CardRequest) -> Response:
    """Create one more card."""
    params = body.model_dump(exclude_none=True)
    return await ask(services, write, lambda conn, at: cards.create(conn, account_id, params, at_ms=at), body)


@router.post("/accounts/{account_id}/cards/{card}/replacements", **Asked)
async def replace_card(
    services: Svc, write: Writing, account_id: AccountPath, card: CardPath, body: Replacement
) -> Response:
    """Create a card in place of this one, which is cancelled once the new one is active."""
    asked = body.model_dump(exclude_none=True, exclude={"reason"})

    async def work(conn: asyncpg.Connection, at: int) -> dict[str, Any]:
        return await cards.replace(conn, account_id, card, reason=body.reason, asked=asked, at_ms=at)

    return await ask(services, write, work, body, body.reason)


@router.post("/accounts/{account_id}/cards/{card}/activations", **Asked)
async def activate_card(services: Svc, write: Writing, account_id: AccountPath, card: CardPath) -> Response:
    """Activate a card that was made inactive: the holder has it in hand."""
    return await _change(services, write, account_id, card, {"status": "active"})


@router.post("/accounts/{account_id}/cards/{card}/freezes", **Asked)
async def freeze_card(
    services: Svc, write: Writing, account_id: AccountPath, card: CardPath, body: schemas.Reason
) -> Response:
    """Stop a card; a thaw brings it back."""
    return await _change(services, write, account_id, card, {"status": "inactive"}, body, body.reason)


@router.delete("/accounts/{account_id}/cards/{card}/freezes", **Asked)
async def thaw_card(services: Svc, write: Writing, account_id: AccountPath, card: CardPath, why: Why) -> Response:
    """Bring a frozen card back."""
    return await _change(services, write, account_id, card, {"status": "active"}, why, words(why))


@router.post("/accounts/{account_id}/cards/{card}/cancellations", **Asked)
async def cancel_card(
    services: Svc, write: Writing, account_id: AccountPath, card: CardPath, body: Cancellation
) -> Response:
    """Cancel a card for good."""
    params: Params = {"status": "canceled"}
    if body.reason in ("lost", "stolen"):
        params["cancellation_reason"] = body.reason
    return await _change(services, write, account_id, card, params, body, body.reason)


@router.put("/accounts/{account_id}/cards/{card}/spending-controls", **Asked)
async def limit_card(
    services: Svc, write: Writing, account_id: AccountPath, card: CardPath, body: SpendingControls
) -> Response:
    """Put these spending controls in place of all that the card has."""
    return await _change(services, write, account_id, card, {"spending_controls": body.whole()}, body)


@router.post("/accounts/{account_id}/cards/{card}/pin-changes", response_model=PinChanged, **Passed)
async def change_pin(
    services: Svc, write: Writing, account_id: AccountPath, card: CardPath, body: PinChange
) -> Response:
    """Give the card a new PIN, encrypted before it came here; it is passed on and kept nowhere."""
    asked = _asked(write, account_id, card)
    return await write.apart(lambda: card_secrets.change_pin(services, asked, body.encrypted_number), body, **UNKEPT)


@router.post("/accounts/{account_id}/cards/{card}/ephemeral-keys", response_model=EphemeralKey, **Passed)
async def make_ephemeral_key(
    services: Svc, write: Writing, account_id: AccountPath, card: CardPath, body: EphemeralKeyRequest
) -> Response:
    """Make the key with which Issuing Elements show this card to its holder; it is kept nowhere."""
    asked = _asked(write, account_id, card)
    return await write.apart(lambda: card_secrets.ephemeral_key(services, asked, body.nonce), body, **UNKEPT)


def _asked(write: Write, account_id: str, card: str) -> card_secrets.Asked:
    caller = write.principal
    return card_secrets.Asked(account=account_id, card=card, who=caller.name, caller=caller.id, key=write.key)


async def _change(
    services: Svc,
    write: Write,
    account_id: str,
    card: str,
    to: Params,
    body: BaseModel | None = None,
    reason: str | None = None,
) -> Response:
    return await ask(services, write, lambda conn, at: cards.change(conn, account_id, card, to, at_ms=at), body, reason)
