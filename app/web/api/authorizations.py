"""Real-time decisions, joined with what Stripe recorded."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from app.store import views
from app.web import schemas, shown
from app.web.deps import Page, Reader, Svc, page, reading
from app.web.problems import documented

router = APIRouter(tags=["authorizations"])


@router.get(
    "/authorizations", response_model=schemas.Listed[schemas.Decision], responses=documented(400, 401, 403, 422)
)
async def list_authorizations(
    services: Svc,
    _who: Reader,
    asked: Annotated[Page, Depends(page(datetime, str, str))],
    account: Annotated[str | None, Query(description="Only of this account.", examples=["acct_1SMxConnDemo"])] = None,
    approved: Annotated[
        bool | None, Query(description="Only approved, or only declined ones.", examples=[True])
    ] = None,
    reason: Annotated[str | None, Query(description="Only with this reason.", examples=["approved"])] = None,
) -> Response:
    """Decisions, newest first."""
    async with reading(services) as conn:
        rows = await views.decisions(
            conn, limit=asked.fetched, after=asked.after, account=account, approved=approved, reason=reason
        )
    return asked.of(rows, ["decided_at", "request_event_id", "account_id"], shown.decision)
