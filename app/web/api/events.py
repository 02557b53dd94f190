"""Events: what reached an account's log, what it did, where it came from; retry and ignore of parked ones."""

from datetime import datetime
from typing import Annotated, Any, Literal

import asyncpg
from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field
from starlette.responses import Response

from app.errors import NotFound
from app.ops import jobs, rebuild, replay, requests
from app.ops.rebuild import Rebuilt
from app.store import rebuilds, views
from app.web import schemas, shown, whole
from app.web.deps import Json, Page, Reader, Svc, Writing, page, reading
from app.web.problems import documented

router = APIRouter(tags=["events"])

EventPath = Annotated[str, Path(description="The event.", examples=["evt_1"], max_length=255)]
Wrong = documented(400, 401, 403, 404, 409, 422)


@router.get("/events", response_model=schemas.Listed[schemas.Event], responses=documented(400, 401, 403, 422))
async def list_events(
    services: Svc,
    _who: Reader,
    asked: Annotated[Page, Depends(page(datetime, str, str))],
    account: Annotated[str | None, Query(description="Only of this account.", examples=["acct_1SMxConnDemo"])] = None,
    type: Annotated[str | None, Query(description="Only of this type.", examples=["v2.core.account.updated"])] = None,  # noqa: A002 - the contract's name
    status: Annotated[
        schemas.Status | None,
        Query(description="Only in this status.", examples=["parked"]),
    ] = None,
    source: Annotated[
        schemas.Source | None,
        Query(description="Only from this source.", examples=["webhook"]),
    ] = None,
    since: Annotated[
        schemas.Moment | None, Query(description="Arrived at this time or later.", examples=["2026-11-24T10:00:00Z"])
    ] = None,
    until: Annotated[
        schemas.Moment | None, Query(description="Arrived before this time.", examples=["2026-11-25T10:00:00Z"])
    ] = None,
) -> Response:
    """Events, newest arrival first."""
    async with reading(services) as conn:
        rows = await views.events(
            conn,
            limit=asked.fetched,
            after=asked.after,
            account=account,
            type=type,
            status=status,
            source=source,
            since=since,
            until=until,
        )
    return asked.of(rows, ["received_at", "event_id", "account_id"], shown.event)


@router.get("/events/{event_id}", response_model=schemas.EventDetail, responses=documented(401, 403, 404))
async def read_event(services: Svc, who: Reader, event_id: EventPath) -> Response:
    """One event with payload, what was fetched for it, what it did, and the chain of causes."""
    async with reading(services) as conn:
        row = await views.event(conn, event_id)
        if row is None:
            raise NotFound(f"There is no event {event_id}.")
        return Json(await whole.event(conn, row, private=who.may("operate")))


class Replay(schemas.Reason):
    """How to replay one event."""

    mode: Literal["state", "resume", "force"] = Field(
        description="`state`: fold again, no command leaves; `resume`: the next step may follow; `force`: also handled ones.",
        examples=["resume"],
    )
    dry_run: bool = Field(True, strict=True, description="Only say what it would do.", examples=[True])


@router.post("/events/{event_id}/replays", status_code=202, response_model=schemas.Accepted, responses=Wrong)
async def replay_event(services: Svc, write: Writing, event_id: EventPath, body: Replay) -> Response:
    """Replay one event. Dry by default: `plan` says which transitions and commands would follow, and which commands are
    suppressed because they exist already. A `force` whose commands would move more than the programme's
    `caps.force_unconfirmed` becomes a planned replay (`rpl_...`) that another admin's key confirms.
    """
    href = f"/v1/events/{event_id}"

    async def plan() -> dict[str, Any]:
        async with reading(services) as conn:
            row = await replay.found_event(conn, event_id)
            planned = await replay.plan(conn, services, row, body.mode)
        return {"id": event_id, "state": "planned", "href": href, "plan": planned.report()}

    async def work(conn: asyncpg.Connection) -> dict[str, Any]:
        row = await replay.found_event(conn, event_id)
        return await jobs.replay_event(conn, services, row, body.mode, write.actor(body.reason), checked=checked)

    if body.dry_run:
        return await write.apart(plan, body)
    checked = await _checked(services, event_id) if body.mode == "state" else None
    return await write.do(work, body, reason=body.reason)


async def _checked(services: Svc, event_id: str) -> Rebuilt | None:
    """What mode `state` compares for an applied event, found before the write has a connection: a rebuild takes one of its
    own, and if all of a pool waited for a second one, nobody would get any.
    """
    async with reading(services) as conn:
        row = await rebuilds.event(conn, event_id, None)
    return await rebuild.check(services, row["account_id"]) if row is not None and row["status"] == "applied" else None


@router.post("/events/{event_id}/retries", status_code=202, response_model=schemas.Accepted, responses=Wrong)
async def retry_event(write: Writing, event_id: EventPath, body: schemas.Reason) -> Response:
    """Fold a parked event again."""
    return await write.do(lambda conn: requests.retry_event(conn, event_id), body, reason=body.reason)


@router.post("/events/{event_id}/ignores", status_code=202, response_model=schemas.Accepted, responses=Wrong)
async def ignore_event(write: Writing, event_id: EventPath, body: schemas.Reason) -> Response:
    """Close a parked event without effect."""
    return await write.do(
        lambda conn: requests.ignore_event(conn, event_id, by=write.principal.name, reason=body.reason),
        body,
        reason=body.reason,
    )
