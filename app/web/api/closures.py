"""Closing an account for good."""

from fastapi import APIRouter
from starlette.responses import Response

from app.ops import closing
from app.web import schemas
from app.web.api.accounts import AccountPath
from app.web.deps import Svc, Writing
from app.web.problems import documented

router = APIRouter(tags=["actions"])


@router.post(
    "/accounts/{account_id}/closures",
    status_code=202,
    response_model=schemas.Accepted,
    responses=documented(400, 401, 403, 404, 409, 422),
)
async def close_account(services: Svc, write: Writing, account_id: AccountPath, body: schemas.Reason) -> Response:
    """Close the account at Stripe; refused while it holds money or money is on its way to it. There is no way back."""
    return await write.do(
        lambda conn: closing.close(conn, account_id, at_ms=services.clock()), body, reason=body.reason
    )
