"""Rebuild, reconcile and backfill over HTTP, and what is parked. Dry by default; the report is the answer."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from app.errors import NotFound
from app.ops import backfill, rebuild, reconcile
from app.store import views
from app.web import schemas
from app.web.api.accounts import AccountPath
from app.web.deps import Svc, Writing, reading
from app.web.problems import documented

router = APIRouter(tags=["operations"])
Wrong = documented(400, 401, 403, 404, 409, 422)


class Operation(schemas.Reason):
    """An operation that says what it would do unless told to do it."""

    dry_run: bool = Field(True, strict=True, description="Only say what it would do.", examples=[True])


class Reconciliation(Operation):
    """Compare with Stripe."""

    account: str | None = Field(None, description="Only this account; all without it.", examples=["acct_1"])


class Backfill(Operation):
    """Bring in what Stripe has and we do not."""

    since: schemas.Moment = Field(description="From when; Stripe keeps 30 days.", examples=["2026-11-24T10:00:00Z"])
    account: str | None = Field(None, description="Only this account's context.", examples=["acct_1"])


class Rebuilt(BaseModel):
    """A rebuilt account beside what is stored."""

    account: str = Field(description="The account.", examples=["acct_1"])
    equal: bool = Field(description="Whether the log explains the stored state.", examples=[True])
    events: int = Field(description="Events folded.", examples=[12])
    checkpoint: int = Field(description="Where it started: number of the applied event; 0: the first.", examples=[0])
    differences: list[dict[str, Any]] = Field(description="`{what, stored, rebuilt}`.", examples=[[]])
    difference_count: int = Field(description="How many there are.", examples=[0])
    unreadable: list[str] = Field(description="Events that could not be read.", examples=[[]])


class Found(BaseModel):
    """What an operation found and did."""

    dry_run: bool = Field(description="Whether it only looked.", examples=[True])


@router.post("/accounts/{account_id}/rebuilds", status_code=202, response_model=Rebuilt, responses=Wrong)
async def rebuild_account(services: Svc, write: Writing, account_id: AccountPath, body: Operation) -> Response:
    """Fold the account's log again and compare; without `dry_run` what the log says is written where it differs."""

    async def work() -> dict[str, Any]:
        if body.dry_run:
            return (await rebuild.check(services, account_id)).report()
        return await rebuild.repair(services, account_id, write.actor(body.reason))

    return await write.apart(work, body)


@router.post("/reconciliations", status_code=202, response_model=Found, responses=Wrong)
async def start_reconciliation(services: Svc, write: Writing, body: Reconciliation) -> Response:
    """Read live objects and compare; without `dry_run` what differs becomes a `poll` event."""
    actor = write.actor(body.reason)
    return await write.apart(
        lambda: reconcile.reconcile(services, actor, yes=not body.dry_run, account=body.account), body
    )


@router.post("/backfills", status_code=202, response_model=Found, responses=Wrong)
async def start_backfill(services: Svc, write: Writing, body: Backfill) -> Response:
    """Read Stripe's event lists; without `dry_run` what is missing comes into the log."""
    actor, account = write.actor(body.reason), body.account
    own = account is None or account == services.platform_account
    accounts = None if account is None else [] if own else [account]

    async def work() -> dict[str, Any]:
        async with reading(services) as conn:
            if account is not None and await views.account_state(conn, account) is None:
                raise NotFound(f"There is no account {account}.")
        found = await backfill.backfill(
            services, body.since, actor, yes=not body.dry_run, accounts=accounts, platform=own
        )
        return found.report()

    return await write.apart(work, body)
