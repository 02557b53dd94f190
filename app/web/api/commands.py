"""Commands: the Stripe writes we intended, and retry or discard of those that wait for a person."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from app.errors import NotFound
from app.ops import requests
from app.store import views
from app.web import schemas, shown
from app.web.deps import IfNoneMatch, Page, Reader, Svc, Writing, page, polled, reading
from app.web.problems import UNCHANGED, documented

router = APIRouter(tags=["commands"])

CommandPath = Annotated[
    str, Path(description="The command.", examples=["cmd_9c1185a5c5e9fc54612808977e"], max_length=255)
]
Status = Literal["pending", "in_flight", "unknown", "settled", "rejected", "parked"]
Wrong = documented(400, 401, 403, 404, 409, 422)


@router.get("/commands", response_model=schemas.Listed[schemas.Command], responses=documented(400, 401, 403, 422))
async def list_commands(
    services: Svc,
    _who: Reader,
    asked: Annotated[Page, Depends(page(datetime, str, str))],
    account: Annotated[str | None, Query(description="Only of this account.", examples=["acct_1SMxConnDemo"])] = None,
    status: Annotated[Status | None, Query(description="Only in this status.", examples=["settled"])] = None,
    kind: Annotated[str | None, Query(description="Only of this kind.", examples=["create_card"])] = None,
) -> Response:
    """Commands, newest first."""
    async with reading(services) as conn:
        rows = await views.commands(
            conn, limit=asked.fetched, after=asked.after, account=account, status=status, kind=kind
        )
    return asked.of(rows, ["created_at", "account_id", "command_id"], shown.command)


@router.get("/commands/{command_id}", response_model=schemas.Command, responses=UNCHANGED | documented(401, 403, 404))
async def read_command(
    services: Svc, _who: Reader, command_id: CommandPath, if_none_match: IfNoneMatch = None
) -> Response:
    """One command."""
    async with reading(services) as conn:
        row = await views.command(conn, command_id)
    if row is None:
        raise NotFound(f"There is no command {command_id}.")
    return polled(shown.command(row), if_none_match)


@router.post("/commands/{command_id}/retries", status_code=202, response_model=schemas.Accepted, responses=Wrong)
async def retry_command(
    services: Svc, write: Writing, command_id: CommandPath, body: schemas.Reason | None = None
) -> Response:
    """Send a parked command again, under its one idempotency key."""
    reason = body.reason if body is not None else None
    return await write.do(
        lambda conn: requests.retry_command(conn, command_id, at_ms=services.clock()), body, reason=reason
    )


@router.post("/commands/{command_id}/discards", status_code=202, response_model=schemas.Accepted, responses=Wrong)
async def discard_command(services: Svc, write: Writing, command_id: CommandPath, body: schemas.Reason) -> Response:
    """Give a parked command up."""
    return await write.do(
        lambda conn: requests.discard_command(
            conn, command_id, by=write.principal.name, reason=body.reason, at_ms=services.clock()
        ),
        body,
        reason=body.reason,
    )
