"""Health alerts: what Stripe noticed about our answers, our webhooks and its own events."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from app.store import alerts
from app.web import schemas, shown
from app.web.deps import Page, Reader, Svc, page, reading
from app.web.problems import documented

router = APIRouter(tags=["platform"])


class HealthAlert(BaseModel):
    """One alert of Stripe."""

    id: str = Field(description="Stripe's `alert_id`.", examples=["alrt_1"])
    alarm: str = Field(description="What is wrong.", examples=["issuing_authorization_request_timeout"])
    severity: Literal["critical", "warning"] = Field(description="How bad that is here.", examples=["critical"])
    state: str = Field(description="`firing` or `resolved`.", examples=["firing"])
    summary: str | None = Field(description="In Stripe's words.", examples=["Requests timed out."])
    started_at: schemas.Time | None = Field(
        description="Since when, as Stripe says.", examples=["2026-11-24T10:00:00Z"]
    )
    resolved_at: schemas.Time | None = Field(description="Until when.", examples=["2026-11-24T10:05:00Z"])
    impact: dict[str, Any] = Field(description="How many requests, how much money, which event.", examples=[{}])
    backfilled_at: schemas.Time | None = Field(
        description="When the events that Stripe had failed to generate were brought in.", examples=[None]
    )


@router.get("/health-alerts", response_model=schemas.Listed[HealthAlert], responses=documented(400, 401, 403, 422))
async def list_health_alerts(
    services: Svc,
    _who: Reader,
    asked: Annotated[Page, Depends(page(str))],
    state: Annotated[
        Literal["firing", "resolved"] | None, Query(description="Only in this state.", examples=["firing"])
    ] = None,
) -> Response:
    """Stripe's health alerts by id."""
    async with reading(services) as conn:
        rows = await alerts.every(conn, services.platform_account, limit=asked.fetched, after=asked.after, state=state)
    return asked.of(rows, ["object_id"], shown.health_alert)
