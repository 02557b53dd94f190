"""Event destinations at Stripe over HTTP, and the doctor."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.responses import Response

from app.ops import destinations, doctor
from app.web import schemas
from app.web.api.ops import Operation, Wrong
from app.web.deps import Admin, AdminWriting, Json, Operator, Page, Svc, page
from app.web.problems import documented

router = APIRouter(tags=["operations"])


class Destination(BaseModel):
    """An event destination."""

    id: str = Field(description="Stripe's id.", examples=["ed_test_65SDemo"])
    api: str = Field(description="v2: event destination; v1: webhook endpoint.", examples=["v2"])
    name: str | None = Field(description="Its name.", examples=["cardrail thin @accounts"])
    status: str | None = Field(description="enabled or disabled.", examples=["enabled"])
    style: str | None = Field(description="thin or snapshot.", examples=["thin"])
    scopes: list[str] = Field(description="Whose events.", examples=[["@accounts"]])
    types: int = Field(description="How many types.", examples=[64])
    url: str | None = Field(description="Where it posts to.", examples=["https://cards.example.com/webhooks/stripe"])
    api_version: str | None = Field(description="Of snapshots.", examples=["2026-10-14.preview"])


class Ensuring(Operation):
    """Create what is missing."""

    url: str | None = Field(
        None,
        description="Where Stripe shall post to; absent: our own.",
        max_length=2000,
        examples=["https://cards.example.com"],
    )


class Ensured(BaseModel):
    """What was done, or would be."""

    url: str = Field(description="Where Stripe posts to.", examples=["https://cards.example.com/webhooks/stripe"])
    dry_run: bool = Field(description="Whether nothing was done.", examples=[True])
    steps: list[dict[str, Any]] = Field(description="`{action, style, scope, id, missing}`.", examples=[[]])
    secrets: list[str] = Field(description="New signing secrets, shown this once.", examples=[[]])
    failed: list[str] = Field(description="What Stripe refused, in words.", examples=[[]])


class Check(BaseModel):
    """One thing that the doctor looked at."""

    check: str = Field(description="What.", examples=["backlog"])
    state: str = Field(description="ok, warning or wrong.", examples=["ok"])
    says: str = Field(description="What was seen.", examples=["nothing is due"])
    do: str = Field(description="What would help.", examples=[""])


class Examined(BaseModel):
    """All that the doctor looked at."""

    ok: bool = Field(description="Whether nothing is wrong.", examples=[True])
    checks: list[Check] = Field(description="One by one.")


@router.get("/destinations", response_model=schemas.Listed[Destination], responses=documented(400, 401, 403, 422, 503))
async def list_destinations(services: Svc, _who: Admin, asked: Annotated[Page, Depends(page(str))]) -> Response:
    """The event destinations at Stripe, and its webhook endpoints of v1."""
    return asked.of_whole(await destinations.listed(services), "id")


@router.post("/destinations", status_code=202, response_model=Ensured, responses=Wrong)
async def ensure_destinations(services: Svc, write: AdminWriting, body: Ensuring) -> Response:
    """Create, extend or enable what is missing so that everything we follow reaches us. Again, it does nothing.

    New secrets are kept nowhere: an answer that is given again under its `Idempotency-Key` has none.
    """
    actor = write.actor(body.reason)
    return await write.apart(
        lambda: destinations.ensure(services, actor, url=body.url, yes=not body.dry_run),
        body,
        keep=lambda made: {**made, "secrets": []},
    )


@router.get("/doctor", response_model=Examined, responses=documented(401, 403))
async def examine(services: Svc, _who: Operator) -> Response:
    """Look for what is wrong: at the door, in the log, with the workers, the caps, the keys, and at Stripe."""
    found = await doctor.examine(services)
    return Json({"ok": not doctor.wrong(found), "checks": [doctor.shown(check) for check in found]})
