"""Bulk replays: jobs with progress that any worker carries on."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response

from app.errors import NotFound
from app.ops import jobs
from app.store import replays
from app.web import schemas
from app.web.deps import AdminWriting, IfNoneMatch, Page, Reader, Svc, Writing, page, polled, reading
from app.web.problems import UNCHANGED, documented
from app.web.reasons import Why, words

router = APIRouter(tags=["replays"])


class Filter(schemas.Body):
    """Which events; at least one member."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    account: str | None = Field(None, min_length=1, description="Only of this account.", examples=["acct_1SMxConnDemo"])
    type: str | None = Field(None, min_length=1, description="Only of this type.", examples=["v2.core.account.updated"])
    status: schemas.Status | None = Field(None, description="Only in this status.", examples=["parked"])
    source: schemas.Source | None = Field(None, description="Only from this source.", examples=["webhook"])
    since: schemas.Moment | None = Field(
        None, description="Arrived at this time or later.", examples=["2026-11-24T10:00:00Z"]
    )
    until: schemas.Moment | None = Field(
        None, description="Arrived before this time.", examples=["2026-11-25T10:00:00Z"]
    )

    @model_validator(mode="after")
    def _not_empty(self) -> "Filter":
        if not self.model_dump(exclude_none=True):
            raise ValueError("a filter needs at least one member")
        return self


class BulkReplay(schemas.Reason):
    """A bulk replay."""

    filter: Filter = Field(description="Which events.")
    mode: Literal["state", "resume", "force"] = Field("state", description="As for one event.", examples=["state"])
    dry_run: bool = Field(True, strict=True, description="Only say what it would do.", examples=[True])
    rate: int = Field(100, gt=0, le=10_000, strict=True, description="Events a second at most.", examples=[100])


class Job(BaseModel):
    """A bulk replay and how far it is."""

    id: str = Field(description="The job.", examples=["rpl_1"])
    state: str = Field(description="planned, running, finished, stopped or failed.", examples=["running"])
    mode: str = Field(description="state, resume or force.", examples=["state"])
    filter: dict[str, Any] = Field(description="Which events.", examples=[{"status": "parked"}])
    rate: int = Field(description="Events a second at most.", examples=[100])
    reason: str = Field(description="Why.", examples=["After the fix"])
    by: str = Field(description="Who.", examples=["ops-console"])
    total: int = Field(description="Events to replay: as counted at first, then as met.", examples=[100])
    done: int = Field(description="Events replayed.", examples=[40])
    failed: int = Field(description="Events that failed.", examples=[0])
    dry_run: bool = Field(description="Whether it only says what it would do.", examples=[False])
    forecast: dict[str, Any] | None = Field(
        description="What it would do: transitions, commands by kind that would leave, are held back, or are suppressed"
        " as already made; `complete` once every event was looked at.",
        examples=[{"complete": True, "events": 100, "leaving": {}, "amount": 0}],
    )
    needs_confirmation: bool = Field(description="Whether it waits for another admin's key.", examples=[False])
    confirmed_by: str | None = Field(description="Who confirmed it.", examples=[None])
    confirmed_at: schemas.Time | None = Field(description="When a second key confirmed it.", examples=[None])
    last_error: str | None = Field(description="What went wrong last.", examples=[None])
    created_at: schemas.Time
    updated_at: schemas.Time


JobPath = Annotated[str, Path(description="The job.", examples=["rpl_1"], max_length=255)]
Wrong = documented(400, 401, 403, 404, 409, 422)


@router.get("/replays", response_model=schemas.Listed[Job], responses=documented(400, 401, 403, 422))
async def list_replays(services: Svc, _who: Reader, asked: Annotated[Page, Depends(page(datetime, str))]) -> Response:
    """Jobs, newest first."""
    async with reading(services) as conn:
        rows = await replays.newest(conn, limit=asked.fetched, after=asked.after)
    return asked.of(rows, ["created_at", "id"], dict)


@router.get("/replays/{replay_id}", response_model=Job, responses=UNCHANGED | documented(401, 403, 404))
async def read_replay(services: Svc, _who: Reader, replay_id: JobPath, if_none_match: IfNoneMatch = None) -> Response:
    """One job."""
    async with reading(services) as conn:
        row = await replays.find(conn, replay_id)
    if row is None:
        raise NotFound(f"There is no replay {replay_id}.")
    return polled(dict(row), if_none_match)


@router.post("/replays", status_code=202, response_model=schemas.Accepted, responses=Wrong)
async def start_replay(services: Svc, write: Writing, body: BulkReplay) -> Response:
    """Start a bulk replay; dry by default: a `planned` job says in `forecast` what it would do, and is never run.

    A `force` that would move more than the programme's `caps.force_unconfirmed` stays `planned` until another admin's
    key confirms it.
    """
    actor = write.actor(body.reason)
    asked = body.filter.model_dump(exclude_none=True)
    return await write.do(
        lambda conn: jobs.start(
            conn, services, asked, mode=body.mode, rate=body.rate, dry_run=body.dry_run, actor=actor
        ),
        body,
        reason=body.reason,
    )


@router.delete("/replays/{replay_id}", status_code=202, response_model=schemas.Accepted, responses=Wrong)
async def stop_replay(
    write: Writing,
    replay_id: JobPath,
    why: Why,
) -> Response:
    """Stop a bulk replay; what it did stays done."""
    return await write.do(lambda conn: jobs.stop(conn, replay_id), why, reason=words(why))


@router.post("/replays/{replay_id}/confirmations", status_code=202, response_model=schemas.Accepted, responses=Wrong)
async def confirm_replay(write: AdminWriting, replay_id: JobPath, body: schemas.Reason) -> Response:
    """Let a forced replay run that somebody else asked for; only with an admin's key, and not with the key that asked."""
    actor = write.actor(body.reason)
    return await write.do(lambda conn: jobs.confirm(conn, replay_id, actor), body, reason=body.reason)
