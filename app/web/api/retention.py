"""Retention over HTTP: what is old enough to go, and letting a bounded part of it go now."""

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from app.ops import retention
from app.web import schemas
from app.web.api.ops import Operation, Wrong
from app.web.deps import AdminWriting, Json, Operator, Svc, reading
from app.web.problems import documented

router = APIRouter(tags=["operations"])

CHUNKS_MAX = 25
"""Of one request: some thousand events, a few seconds."""


class Count(BaseModel):
    """Events, by what goes of them."""

    bodies: int = Field(description="For their bodies.", examples=[0])
    rows: int = Field(description="For their rows.", examples=[0])


class Through(BaseModel):
    """How far each pass is."""

    bodies: schemas.Time | None = Field(description="Events that arrived until then were looked at.", examples=[None])
    rows: schemas.Time | None = Field(description="The same for rows.", examples=[None])


class Retention(BaseModel):
    """What is due."""

    found: Count = Field(
        description="Events that are old enough and were not looked at yet.", examples=[{"bodies": 0, "rows": 0}]
    )
    days: Count = Field(description="After how many days they are.", examples=[{"bodies": 90, "rows": 400}])
    through: Through = Field(description="Up to when each pass has looked.")
    checkpoints: int = Field(description="Accounts whose rebuild begins at a checkpoint.", examples=[0])


class Retained(BaseModel):
    """What went, or would be looked at."""

    dry_run: bool = Field(description="Whether it only looked.", examples=[True])
    found: Count | None = Field(
        None, description="What it would look at; only when dry.", examples=[{"bodies": 0, "rows": 0}]
    )
    bodies_dropped: int = Field(0, description="Bodies that went.", examples=[0])
    rows_deleted: int = Field(0, description="Rows that went.", examples=[0])
    kept: int = Field(0, description="Events that were looked at and keep their body.", examples=[0])
    left: Count | None = Field(None, description="What is still to be looked at.", examples=[{"bodies": 0, "rows": 0}])


@router.get("/retention", response_model=Retention, responses=documented(401, 403))
async def show_retention(services: Svc, _who: Operator) -> Response:
    """What is old enough to go. A worker lets it go every hour by itself."""
    async with reading(services) as conn:
        return Json(await retention.status(conn, services.settings))


@router.post("/retention/runs", status_code=202, response_model=Retained, responses=Wrong)
async def run_retention(services: Svc, write: AdminWriting, body: Operation) -> Response:
    """Let a part of it go now; `left` says how much is still to be looked at, for the next request."""
    actor = write.actor(body.reason)
    return await write.apart(lambda: retention.drop(services, actor, yes=not body.dry_run, chunks_max=CHUNKS_MAX), body)
