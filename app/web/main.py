"""The web application: Stripe's door, health, the API under ``/v1`` and the console. Nothing is built at import."""

from fastapi import APIRouter, Depends, FastAPI

from app.web import docs, health, openapi, problems
from app.web.api import (
    accounts,
    actions,
    audit,
    authorizations,
    books,
    cardholders,
    cards,
    closures,
    commands,
    controls,
    destinations,
    disputes,
    enrollments,
    events,
    explanations,
    health_alerts,
    ops,
    parked,
    payouts,
    platform,
    replays,
    retention,
    streams,
    subscriptions,
    tokens,
)
from app.web.bodies import BodyGuard
from app.web.console import site
from app.web.deps import known_parameters
from app.web.doorkeeper import Doorkeeper
from app.web.tail import Tail
from app.web.waiting import Watch
from app.web.webhooks import Authorize, WebhookDoor, webhook_routes
from app.wiring import Services

ROUTERS: tuple[APIRouter, ...] = (
    enrollments.router,
    accounts.router,
    actions.router,
    books.router,
    cards.router,
    closures.router,
    cardholders.router,
    tokens.router,
    disputes.router,
    controls.router,
    streams.router,
    subscriptions.router,
    events.router,
    explanations.router,
    commands.router,
    authorizations.router,
    replays.router,
    retention.router,
    ops.router,
    parked.router,
    destinations.router,
    payouts.router,
    platform.router,
    health_alerts.router,
    audit.router,
)

DESCRIPTION = """Runs a stablecoin-backed card programme on Stripe: ask for accounts, wait for states, stream what
happens. Errors are RFC 9457 problems with a stable `code`. Writes take `Idempotency-Key` and answer 202 with what to
watch."""


def create_app(services: Services, authorize: Authorize | None = None) -> FastAPI:
    """The application over running services; the caller opens and closes those.

    ``authorize`` answers real-time authorization requests; without it they are stored like any other event.
    """
    app = build()
    app.state.services = services
    app.state.doorkeeper = Doorkeeper(services.settings.rate_limit_per_s)
    app.state.watch = Watch(services)
    app.add_middleware(BodyGuard, body_max_bytes=services.settings.body_max_bytes)
    app.state.tail = Tail(services, app.state.doorkeeper)
    app.router.routes.extend(webhook_routes(services.receiver, door_of(services, authorize)))
    site.install(app)
    return app


def build() -> FastAPI:
    """The API without services: enough to describe it."""
    app = FastAPI(
        title="cardrail",
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.openapi = lambda: openapi.describe(app)  # type: ignore[method-assign] # FastAPI's own way to complete it
    problems.install(app)
    docs.install(app)
    app.router.routes.extend(health.ROUTES)
    for router in ROUTERS:
        app.include_router(router, prefix="/v1", dependencies=[Depends(known_parameters)])
    return app


def door_of(services: Services, authorize: Authorize | None = None) -> WebhookDoor:
    """What Stripe's door checks with."""
    settings = services.settings
    return WebhookDoor(
        secrets=settings.webhook_secrets,
        authorization_secrets=settings.authorization_secrets,
        platform_account=services.platform_account,
        livemode=settings.livemode,
        tolerance_s=settings.signature_tolerance_s,
        body_max_bytes=settings.body_max_bytes,
        authorize=authorize,
    )
