"""Bulk replays: jobs with progress. Starting one is not built yet and says so."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import AwareDatetime, BaseModel, Field, model_validator
from starlette.responses import Response

from app.errors import NotFound
from app.store import replays
from app.web import schemas
from app.web.api.events import not_yet
from app.web.deps import Json, Operator, Reader, Svc, reading
from app.web.problems import documented

router = APIRouter(tags=["replays"])


class Filter(schemas.Body):
    """Which events; at least one member."""

    account: str | None = Field(None, description="Only of this account.", examples=["acct_1SMxConnDemo"])
    type: str | None = Field(None, description="Only of this type.", examples=["v2.core.account.updated"])
    status: str | None = Field(None, description="Only in this status.", examples=["parked"])
    source: str | None = Field(None, description="Only from this source.", examples=["webhook"])
    since: AwareDatetime | None = Field(
        None, description="Arrived at this time or later.", examples=["2026-11-24T10:00:00Z"]
    )
    until: AwareDatetime | None = Field(
        None, description="Arrived before this time.", examples=["2026-11-25T10:00:00Z"]
    )

    @model_validator(mode="after")
    def _not_empty(self) -> "Filter":
        if not self.model_dump(exclude_none=True):
            raise ValueError("a filter needs at least one member")
        return self


class BulkReplay(schemas.Reason):
    """A bulk replay."""

    filter: Filter
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
    total: int = Field(description="Events to replay.", examples=[100])
    done: int = Field(description="Events replayed.", examples=[40])
    failed: int = Field(description="Events that failed.", examples=[0])
    created_at: datetime
    updated_at: datetime


JobPath = Annotated[str, Path(description="The job.", examples=["rpl_1"])]
Wrong = documented(400, 401, 403, 404, 422, 501)


@router.get("/replays", response_model=schemas.Listed[Job], responses=documented(401, 403))
async def list_replays(services: Svc, _who: Reader) -> Response:
    """The newest jobs."""
    async with reading(services) as conn:
        rows = await replays.newest(conn)
    return Json({"data": [dict(row) for row in rows], "next_cursor": None})


@router.get("/replays/{replay_id}", response_model=Job, responses=documented(401, 403, 404))
async def read_replay(services: Svc, _who: Reader, replay_id: JobPath) -> Response:
    """One job."""
    async with reading(services) as conn:
        row = await replays.find(conn, replay_id)
    if row is None:
        raise NotFound(f"There is no replay {replay_id}.")
    return Json(dict(row))


@router.post("/replays", status_code=202, response_model=schemas.Accepted, responses=Wrong)
async def start_replay(_who: Operator, body: BulkReplay) -> Response:
    """Start a bulk replay. Not available yet."""
    raise not_yet(f"A bulk replay in mode {body.mode}")
