"""Books: per account and UTC day what came in, went out and is left, beside Stripe's balance."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from app.ops import books
from app.web import schemas
from app.web.api.accounts import AccountPath, must_know
from app.web.deps import Json, Reader, Svc, reading
from app.web.problems import documented

router = APIRouter(tags=["accounts"])
AMOUNTS = {"available": 9_000, "inbound_pending": 0, "outbound_pending": 0}


class Day(BaseModel):
    """One day of one currency on one financial account; all in minor units."""

    day: date = Field(description="UTC.", examples=["2026-11-24"])
    financial_account: str = Field(description="Stripe's id.", examples=["fa_test_65SDemoConn"])
    currency: str = Field(description="Lower-case currency.", examples=["usdc"])
    opening: dict[str, int] = Field(description="What it began with.", examples=[AMOUNTS])
    in_: int = Field(alias="in", description="What came in, of the available part.", examples=[10_000])
    out: int = Field(description="What went out, of the available part.", examples=[1_000])
    closing: dict[str, int] = Field(description="What it ended with: opening + in - out.", examples=[AMOUNTS])
    entries: int = Field(description="Entries booked on this day.", examples=[4])
    late_entries: int = Field(description="Of them, those that Stripe made after the day was over.", examples=[0])
    by_category: dict[str, int] = Field(description="Net per category.", examples=[{"received_credit": 10_000}])
    stripe: dict[str, Any] | None = Field(
        description="Stripe's balance when it was last read on this day; null when it was not.",
        examples=[{"at": "2026-11-24T10:00:00Z", **AMOUNTS}],
    )
    ours_then: dict[str, int] | None = Field(description="Ours at that moment.", examples=[AMOUNTS])
    difference: dict[str, int] | None = Field(description="Stripe's less ours.", examples=[dict.fromkeys(AMOUNTS, 0)])
    balanced: bool | None = Field(description="Whether there is none.", examples=[True])


class Books(BaseModel):
    """The books of an account over some days."""

    account: str = Field(description="A Stripe account.", examples=["acct_1SMxConnDemo"])
    from_: date = Field(alias="from", description="First day.", examples=["2026-11-24"])
    to: date = Field(description="Last day.", examples=["2026-11-24"])
    balanced: bool | None = Field(
        description="False when any comparison shows a difference; null when nothing could be compared.",
        examples=[True],
    )
    entries_missing: int = Field(description="Transactions whose entries are not all read yet.", examples=[0])
    days: list[Day] = Field(description="By day, financial account and currency.")


@router.get(
    "/accounts/{account_id}/books",
    response_model=Books,
    response_model_by_alias=True,
    responses=documented(400, 401, 403, 404, 422),
)
async def read_books(
    services: Svc,
    _who: Reader,
    account_id: AccountPath,
    day: Annotated[schemas.Day | None, Query(description="One UTC day.", examples=["2026-11-24"])] = None,
    from_: Annotated[schemas.Day | None, Query(alias="from", description="First day.", examples=["2026-11-20"])] = None,
    to: Annotated[schemas.Day | None, Query(description="Last day; today without.", examples=["2026-11-24"])] = None,
) -> Response:
    """The account's books, today's without a day; the platform's own id works as well."""
    first, last = books.period(from_, to, day, books.today(services.clock()))
    async with reading(services) as conn:
        await must_know(conn, account_id)
        return Json(await books.of_account(conn, account_id, first, last))
