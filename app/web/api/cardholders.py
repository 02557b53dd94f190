"""Cardholders beside the one that the programme creates, and changes of any: each a 202, then visible among the objects.

What Stripe still wants of a cardholder shows as `past_due` and `disabled_reason` of the object.
"""

from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Path
from pydantic import Field, model_validator
from starlette.responses import Response

from app.ops import cards
from app.web import schemas
from app.web.api.accounts import AccountPath
from app.web.api.actions import Asked, act
from app.web.api.cards import ask
from app.web.api.enrollments import Billing, Cardholder, Company, Dob, Email, Terms
from app.web.api.spending import CardholderSpendingControls
from app.web.deps import Svc, Write, Writing
from app.web.reasons import Why

router = APIRouter(tags=["cardholders"])

HolderPath = Annotated[str, Path(description="The cardholder.", examples=["ich_1"], max_length=255)]


class CardholderRequest(Cardholder):
    """One more cardholder; an individual must have accepted the card's terms."""

    spending_controls: CardholderSpendingControls | None = Field(None, description="Limits over all their cards.")

    @model_validator(mode="after")
    def _details_fit_the_type(self) -> "CardholderRequest":
        if self.type == "individual" and self.company is not None:
            raise ValueError("company: the cardholder is an individual")
        if self.type == "individual" and self.individual is None:
            raise ValueError("individual: names are needed")
        if self.type == "company" and self.individual is not None:
            raise ValueError("individual: the cardholder is a company")
        return self


class Person(schemas.Body):
    """What may be corrected or added about a person."""

    first_name: str | None = Field(None, min_length=1, max_length=100, description="Given name.", examples=["Ana"])
    last_name: str | None = Field(None, min_length=1, max_length=100, description="Family name.", examples=["Demo"])
    dob: Dob | None = Field(None, description="Date of birth.")


class CardholderChange(schemas.Body):
    """What shall be different; the rest stays."""

    email: Email | None = Field(None, description="E-mail.", examples=["ana@example.com"])
    phone_number: str | None = Field(None, max_length=30, description="E.164.", examples=["+525555555555"])
    billing: Billing | None = Field(None, description="Where bills go.")
    individual: Person | None = Field(None, description="Of an individual.")
    company: Company | None = Field(None, description="Of a company.")
    user_terms_acceptance: Terms | None = Field(None, description="The holder accepted the terms.")

    @model_validator(mode="after")
    def _something_changes(self) -> "CardholderChange":
        if not self.model_fields_set:
            raise ValueError("nothing would change")
        return self


@router.post("/accounts/{account_id}/cardholders", **Asked)
async def make_cardholder(services: Svc, write: Writing, account_id: AccountPath, body: CardholderRequest) -> Response:
    """Create one more cardholder, an individual or a company."""
    params = body.model_dump(mode="json", exclude_none=True)
    return await act(write, services, account_id, "create_cardholder", params, body)


@router.patch("/accounts/{account_id}/cardholders/{cardholder}", **Asked)
async def change_cardholder(
    services: Svc, write: Writing, account_id: AccountPath, cardholder: HolderPath, body: CardholderChange
) -> Response:
    """Correct or complete what Stripe knows of the cardholder; this meets requirements."""
    return await _change(services, write, account_id, cardholder, body.model_dump(mode="json", exclude_none=True), body)


@router.put("/accounts/{account_id}/cardholders/{cardholder}/spending-controls", **Asked)
async def limit_cardholder(
    services: Svc, write: Writing, account_id: AccountPath, cardholder: HolderPath, body: CardholderSpendingControls
) -> Response:
    """Put these spending controls in place of all that the cardholder has."""
    return await _change(services, write, account_id, cardholder, {"spending_controls": body.whole()}, body)


@router.post("/accounts/{account_id}/cardholders/{cardholder}/deactivations", **Asked)
async def deactivate_cardholder(
    services: Svc, write: Writing, account_id: AccountPath, cardholder: HolderPath, body: schemas.Reason
) -> Response:
    """Stop all cards of the cardholder; deleting this lets them go on."""
    return await _change(services, write, account_id, cardholder, {"status": "inactive"}, body)


@router.delete("/accounts/{account_id}/cardholders/{cardholder}/deactivations", **Asked)
async def activate_cardholder(
    services: Svc, write: Writing, account_id: AccountPath, cardholder: HolderPath, why: Why
) -> Response:
    """Let the cardholder's cards work again."""
    return await _change(services, write, account_id, cardholder, {"status": "active"}, why)


async def _change(
    services: Svc, write: Write, account_id: str, cardholder: str, to: dict[str, Any], body: schemas.Body | None
) -> Response:
    async def work(conn: asyncpg.Connection, at: int) -> dict[str, Any]:
        return await cards.change_cardholder(conn, account_id, cardholder, to, at_ms=at)

    return await ask(services, write, work, body, getattr(body, "reason", None))
