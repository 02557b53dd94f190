"""Disputes of captured purchases: opened, argued and submitted once; won, lost or expired as the network decides.

Each is a 202, then visible among the objects, with the money that follows it under `funds` and `links`.
"""

from typing import Annotated, Any, Literal

import asyncpg
from fastapi import APIRouter, Path
from pydantic import ConfigDict, Field, StrictBool, StrictInt, model_validator
from starlette.responses import Response

from app.ops import cards, requests
from app.stripe import evidence
from app.web import schemas
from app.web.api.accounts import AccountPath
from app.web.api.actions import Asked
from app.web.api.cards import ask
from app.web.deps import Svc, Writing

router = APIRouter(tags=["disputes"])

DisputePath = Annotated[str, Path(description="The dispute.", examples=["idp_1"], max_length=255)]
Reason = Literal[
    "canceled",
    "duplicate",
    "fraudulent",
    "merchandise_not_as_described",
    "no_valid_authorization",
    "not_received",
    "other",
    "service_not_as_described",
]


def _text(said: str, example: str) -> Any:
    return Field(None, min_length=1, max_length=2500, description=said, examples=[example])


def _time(said: str) -> Any:
    return Field(None, gt=0, le=4_102_444_800, description=f"{said}, unix seconds.", examples=[1_790_000_000])


class Details(schemas.Body):
    """What happened. Which members a reason takes is Stripe's list; others are refused."""

    explanation: str | None = _text("In the holder's words.", "It never came.")
    additional_documentation: str | None = _text("A file uploaded to Stripe.", "file_1")
    card_statement: str | None = _text("A file.", "file_1")
    cash_receipt: str | None = _text("A file.", "file_1")
    check_image: str | None = _text("A file.", "file_1")
    original_transaction: str | None = _text("The purchase that was charged twice.", "ipi_1")
    product_description: str | None = _text("What was bought.", "A cup")
    product_type: Literal["merchandise", "service"] | None = Field(
        None, description="What kind of thing.", examples=["merchandise"]
    )
    cancellation_policy_provided: StrictBool | None = Field(
        None, description="Whether the merchant told how to cancel.", examples=[False]
    )
    cancellation_reason: str | None = _text("Why it was canceled.", "Not needed")
    return_description: str | None = _text("How it was returned.", "By post")
    return_status: Literal["merchant_rejected", "successful"] | None = Field(
        None, description="What became of the return.", examples=["successful"]
    )
    canceled_at: StrictInt | None = _time("When it was canceled")
    expected_at: StrictInt | None = _time("When it should have come")
    received_at: StrictInt | None = _time("When it came")
    returned_at: StrictInt | None = _time("When it was returned")


class Evidence(schemas.Body):
    """Why the purchase is contested, in Stripe's form: the details stand under the name of the reason."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"reason": "not_received", "not_received": {"explanation": "It never came."}}}
    )

    reason: Reason = Field(description="Stripe's reason.", examples=["not_received"])
    canceled: Details | None = Field(None, description="When this is the reason.")
    duplicate: Details | None = Field(None, description="When this is the reason.")
    fraudulent: Details | None = Field(None, description="When this is the reason.")
    merchandise_not_as_described: Details | None = Field(None, description="When this is the reason.")
    no_valid_authorization: Details | None = Field(None, description="When this is the reason.")
    not_received: Details | None = Field(None, description="When this is the reason.")
    other: Details | None = Field(None, description="When this is the reason.")
    service_not_as_described: Details | None = Field(None, description="When this is the reason.")

    @model_validator(mode="after")
    def _details_fit_the_reason(self) -> "Evidence":
        for name in self.model_fields_set - {"reason"}:
            if name != self.reason:
                raise ValueError(f"{name}: the reason is {self.reason}")
            told: Details | None = getattr(self, name)
            other = sorted((told.model_fields_set if told else set()) - evidence.fields(name))
            if other:
                raise ValueError(f"{name}: {', '.join(other)} cannot be told for it")
        return self

    def sent(self) -> dict[str, Any]:
        """As Stripe takes it."""
        return self.model_dump(exclude_none=True)


class DisputeRequest(schemas.Body):
    """Contest a captured purchase."""

    transaction: str = Field(min_length=1, max_length=255, description="The capture.", examples=["ipi_1"])
    amount: StrictInt | None = Field(
        None, gt=0, le=schemas.MONEY_MAX, description="Cents; all of it if absent.", examples=[1_250]
    )
    evidence: Evidence | None = Field(None, description="May come later, before it is submitted.")


@router.post("/accounts/{account_id}/disputes", **Asked)
async def open_dispute(services: Svc, write: Writing, account_id: AccountPath, body: DisputeRequest) -> Response:
    """Open a dispute; it is sent to the network by a submission of its own."""
    params = body.model_dump(exclude_none=True, exclude={"evidence"})
    if body.evidence is not None:
        params["evidence"] = body.evidence.sent()
    return await ask(services, write, lambda conn, at: cards.dispute(conn, account_id, params, at_ms=at), body)


@router.put("/accounts/{account_id}/disputes/{dispute}/evidence", **Asked)
async def change_evidence(
    services: Svc, write: Writing, account_id: AccountPath, dispute: DisputePath, body: Evidence
) -> Response:
    """Put this evidence in place of what there is, before the dispute is submitted."""
    return await _act(services, write, account_id, dispute, "update_dispute", {"evidence": body.sent()}, body)


@router.post("/accounts/{account_id}/disputes/{dispute}/submissions", **Asked)
async def submit_dispute(services: Svc, write: Writing, account_id: AccountPath, dispute: DisputePath) -> Response:
    """Send the dispute to the network: once, and for good."""
    return await _act(services, write, account_id, dispute, "submit_dispute", {}, None)


async def _act(
    services: Svc,
    write: Writing,
    account_id: str,
    dispute: str,
    action: str,
    params: dict[str, Any],
    body: schemas.Body | None,
) -> Response:
    async def work(conn: asyncpg.Connection, at: int) -> dict[str, Any]:
        await cards.unsubmitted(conn, account_id, dispute)
        return await requests.act(conn, account_id, action, {"dispute": dispute, **params}, at_ms=at)

    return await ask(services, write, work, body)
