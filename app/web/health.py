"""Health: is the process alive, can it serve, and its metrics. No API key is needed."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app import metrics
from app.errors import ConfigError
from app.store import db, heartbeats, schema, trouble
from app.web.deps import services_of
from app.wiring import Services

HEARTBEAT_MAX_AGE_S = 30.0
DATABASE_TIMEOUT_S = 2.0


async def livez(_request: Request) -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Whether the database answers with our schema and a worker lives; 503 when not. A sick worker only warns here."""
    checks = await look(services_of(request))
    ready = all(check["ok"] for name, check in checks.items())
    return JSONResponse({"status": "ok" if ready else "unavailable", "checks": checks}, 200 if ready else 503)


async def look(services: Services) -> dict[str, dict[str, Any]]:
    """Each check with ``ok`` and a sentence."""
    try:
        async with db.borrow(services.api_pool, within_s=DATABASE_TIMEOUT_S) as conn:
            age_s = await heartbeats.newest_age_s(conn)
            writable = await db.takes_writes(conn)
    except Exception as error:  # noqa: BLE001 - whatever it is, the database does not answer, and that is the news
        return {"database": _check(ok=False, said=trouble.briefly(error))}
    return {
        "database": _check(ok=writable, said="answers" if writable else "takes no writes"),
        "schema": await _schema(services),
        "worker": _check(
            ok=age_s is not None and age_s <= HEARTBEAT_MAX_AGE_S,
            said="no worker was ever seen" if age_s is None else f"last seen {age_s:.0f} s ago",
        ),
    }


async def _schema(services: Services) -> dict[str, Any]:
    try:
        await schema.check(services.api_pool)
    except ConfigError as error:
        return _check(ok=False, said=error.message)
    return _check(ok=True, said="current")


def _check(*, ok: bool, said: str) -> dict[str, Any]:
    return {"ok": ok, "detail": said}


async def metrics_page(_request: Request) -> Response:
    """Prometheus metrics of this process."""
    return Response(metrics.render(), media_type=metrics.CONTENT_TYPE)


ROUTES = [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics_page)]
