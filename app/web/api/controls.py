"""Holds and brakes: stop automation for one account, one step or everything, while receiving and queries go on."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import Field
from starlette.responses import Response

from app.errors import BadInput
from app.ops import requests
from app.store import controls
from app.web import schemas
from app.web.api.accounts import AccountPath
from app.web.deps import Page, Reader, Svc, Writing, page, reading
from app.web.problems import documented
from app.web.reasons import Why

router = APIRouter(tags=["controls"])
Wrong = documented(400, 401, 403, 404, 409, 422)


class BrakeSetting(schemas.Reason):
    """Set or let go."""

    on: bool = Field(strict=True, description="Whether the step stands still.", examples=[True])


@router.post("/accounts/{account_id}/hold", status_code=202, response_model=schemas.Accepted, responses=Wrong)
async def place_hold(services: Svc, write: Writing, account_id: AccountPath, body: schemas.Reason) -> Response:
    """Stop automation of this account at once: no command of it leaves while the hold stands."""
    return await write.do(
        lambda conn: requests.hold(
            conn, account_id, by=write.principal.name, reason=body.reason, at_ms=services.clock()
        ),
        body,
        reason=body.reason,
    )


@router.delete("/accounts/{account_id}/hold", status_code=202, response_model=schemas.Accepted, responses=Wrong)
async def release_hold(
    services: Svc,
    write: Writing,
    account_id: AccountPath,
    why: Why,
) -> Response:
    """Let automation go on where it stopped. The reason comes in the body or the query."""
    if why is None:
        errors = [{"field": "reason", "message": "Field required"}]
        raise BadInput("reason: Field required", code="invalid", status=422, details={"errors": errors})
    return await write.do(
        lambda conn: requests.release(
            conn, account_id, by=write.principal.name, reason=why.reason, at_ms=services.clock()
        ),
        why,
        reason=why.reason,
    )


@router.post("/accounts/{account_id}/attempts", status_code=202, response_model=schemas.Accepted, responses=Wrong)
async def allow_attempt(services: Svc, write: Writing, account_id: AccountPath, body: schemas.Reason) -> Response:
    """Allow one more attempt at the step that Stripe refused, or whose money came back; or the first one at a step that
    the programme runs only since the account came there. Caps hold as always.
    """
    return await write.do(
        lambda conn: requests.allow(
            conn,
            account_id,
            programme=services.programme,
            by=write.principal.name,
            reason=body.reason,
            at_ms=services.clock(),
        ),
        body,
        reason=body.reason,
    )


@router.get("/brakes", response_model=schemas.Listed[schemas.Brake], responses=documented(400, 401, 403, 422))
async def list_brakes(services: Svc, _who: Reader, asked: Annotated[Page, Depends(page(str))]) -> Response:
    """The steps that stand still."""
    async with reading(services) as conn:
        rows = await controls.brakes(conn)
    return asked.of_whole([{**row, "on": True} for row in rows], "step")


@router.put("/brakes/{step}", response_model=schemas.Brake, responses=Wrong)
async def set_brake(
    write: Writing,
    step: Annotated[str, Path(description="`all`, or a kind of command.", examples=["create_outbound_payment"])],
    body: BrakeSetting,
) -> Response:
    """Stop a step everywhere, or let it go on."""
    return await write.do(
        lambda conn: requests.brake(conn, step, on=body.on, by=write.principal.name, reason=body.reason),
        body,
        status=200,
        reason=body.reason,
    )
