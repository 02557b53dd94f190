"""The audit: who did what, when and why. For admins."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from app.store import audit
from app.store.views import parsed
from app.web import schemas
from app.web.deps import Admin, Page, Svc, page, reading
from app.web.problems import documented

router = APIRouter(tags=["audit"])


class OperatorAction(BaseModel):
    """One operation of a person or an internal service."""

    id: int = Field(description="Counts up.", examples=[41])
    at: schemas.Time
    who: str = Field(description="Name of the API key, or `cli:` and the user.", examples=["ops-console"])
    action: str = Field(description="Method and route, or the command.", examples=["POST place_hold"])
    target: str = Field(description="What was acted on.", examples=["/v1/accounts/acct_1/hold"])
    reason: str | None = Field(description="Why.", examples=["Fraud check"])
    result: dict[str, Any] = Field(description="What came of it: ids and counts.", examples=[{"id": "req_1"}])


@router.get("/audit", response_model=schemas.Listed[OperatorAction], responses=documented(400, 401, 403, 422))
async def list_operator_actions(
    services: Svc,
    _who: Admin,
    asked: Annotated[Page, Depends(page(int))],
    who: Annotated[str | None, Query(description="Only of this one.", examples=["ops-console"])] = None,
    target: Annotated[
        str | None, Query(description="Only where this is a part of the target.", examples=["acct_1"])
    ] = None,
    since: Annotated[
        schemas.Moment | None, Query(description="At this time or later.", examples=["2026-11-24T10:00:00Z"])
    ] = None,
    until: Annotated[
        schemas.Moment | None, Query(description="Before this time.", examples=["2026-11-25T10:00:00Z"])
    ] = None,
) -> Response:
    """Every write by API or command line, newest first. Needs a key with scope `admin`."""
    async with reading(services) as conn:
        rows = await audit.newest(
            conn, limit=asked.fetched, after=asked.after, who=who, target=target, since=since, until=until
        )
    return asked.of(rows, ["id"], lambda row: {**row, "result": parsed(row["result"])})
