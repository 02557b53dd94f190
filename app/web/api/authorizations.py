"""Real-time decisions, joined with what Stripe recorded; and trials, which decide nothing."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from app.ops import trials
from app.store import decision_views
from app.web import decided, schemas, whole
from app.web.decided import TrialAsked
from app.web.deps import Asking, Json, Page, Reader, Svc, page, reading
from app.web.problems import documented

router = APIRouter(tags=["authorizations"])


@router.get(
    "/authorizations", response_model=schemas.Listed[decided.Decision], responses=documented(400, 401, 403, 422)
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
    mismatch: Annotated[
        bool | None,
        Query(description="Only those that Stripe did not follow or not hear, or the others.", examples=[True]),
    ] = None,
) -> Response:
    """Decisions, newest first."""
    async with reading(services) as conn:
        rows = await decision_views.decisions(
            conn,
            limit=asked.fetched,
            after=asked.after,
            account=account,
            approved=approved,
            reason=reason,
            mismatch=mismatch,
        )
    return asked.of(rows, ["decided_at", "request_event_id", "account_id"], decided.decision)


@router.get(
    "/authorizations/{authorization_id}",
    response_model=decided.AuthorizationDetail,
    responses=documented(401, 403, 404),
)
async def read_authorization(
    services: Svc,
    _who: Reader,
    authorization_id: Annotated[str, Path(description="The authorization.", examples=["iauth_1"], max_length=255)],
) -> Response:
    """One authorization: every decision on it with its inputs, and how it stands at Stripe."""
    async with reading(services) as conn:
        return Json(await whole.authorization(conn, authorization_id))


@router.post("/authorizations/trials", response_model=decided.Trial, responses=documented(400, 401, 403, 404, 409, 422))
async def try_authorization(services: Svc, asking: Asking, body: TrialAsked) -> Response:
    """What an authorization would be answered now, and why; under other rules if you send them. Decides nothing."""
    rules = services.programme.authorization if body.rules is None else trials.rules_of(body.rules)

    async def work() -> dict[str, Any]:
        async with reading(services) as conn:
            if isinstance(body.event, str):
                asked = await trials.stored(conn, body.event)
            else:
                whole = body.model_dump(exclude_unset=True, exclude={"rules"})
                asked = trials.given(body.event or body.authorization or whole, body.account)
            return await trials.trial(conn, asked, rules, services.clock())

    return await asking.apart(work, body, status=200)
