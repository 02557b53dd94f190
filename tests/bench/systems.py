"""The systems compared, each one uvicorn process: `python -m tests.bench.systems NAME PORT DSN`.

`baseline` is what one writes by hand (FastAPI, construct_event, an AsyncSession per request); `bare` only checks the
HMAC and stores nothing; `cardrail` is our door in the application as it is served; `bare-read` is one indexed SELECT.
"""

import contextlib
import hashlib
import hmac
import json
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
import stripe
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from app.flow import receive
from app.sealing import Keys
from app.store import db
from app.web.one_write import OneWriteProtocol
from app.web.webhooks import FrontDoor, WebhookDoor, calm_collector
from app.wiring import unlock
from tests.bench.deliveries import PLATFORM, SECRET

PATH = "/webhooks/stripe"


class _Base(DeclarativeBase):
    pass


class WebhookEvent(_Base):
    __tablename__ = "bench_events"
    id: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str | None]
    type: Mapped[str]
    payload: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    received_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))


def baseline(dsn: str) -> ASGIApp:
    """The hand-written endpoint."""
    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://"))
    session_of = async_sessionmaker(engine, expire_on_commit=False)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(_Base.metadata.create_all)
        yield

    app = FastAPI(lifespan=lifespan)
    client = stripe.StripeClient("sk_test_x")

    @app.post(PATH)
    async def webhook(request: Request) -> dict[str, bool]:
        payload = await request.body()
        signature = request.headers.get("stripe-signature", "")
        try:
            if b'"v2.core.event"' in payload:
                notification = client.parse_event_notification(payload, signature, SECRET)
                event_id, type_, account = notification.id, notification.type, str(notification.context)
            else:
                event = stripe.Webhook.construct_event(payload, signature, SECRET)
                event_id, type_, account = event.id, event.type, event.account or ""
        except (ValueError, stripe.SignatureVerificationError) as error:
            raise HTTPException(400, "bad webhook") from error
        row = WebhookEvent(
            id=event_id, account=account, type=type_, payload=json.loads(payload), received_at=datetime.now(UTC)
        )
        async with session_of() as session:
            session.add(row)
            await session.commit()
        return {"received": True}

    return app


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Only the HMAC."""
    if scope["type"] != "http":
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    header = dict(scope["headers"])[b"stripe-signature"].decode()
    given = dict(part.split("=", 1) for part in header.split(","))
    expected = hmac.new(SECRET.encode(), given["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    status = 200 if hmac.compare_digest(expected, given["v1"]) else 400
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def cardrail(dsn: str) -> ASGIApp:
    """Our front door, as the server runs it."""
    served: list[ASGIApp] = []

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        keys = Keys()
        pool = await db.open_pool(dsn, size=4, name="receive", settings=receive.SESSION, keys=keys, hurried=True)
        await unlock(pool, keys)
        receiver = receive.Receiver(pool)
        door = WebhookDoor(secrets=[SECRET], platform_account=PLATFORM, livemode=False)
        served.append(FrontDoor(app, receiver, door))
        calm_collector()
        yield
        await receiver.settle()
        await pool.close()

    inner = Starlette(lifespan=lifespan)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (served[0] if served else inner)(scope, receive, send)

    return app


def bare_read(dsn: str) -> ASGIApp:
    """A bare FastAPI route with one indexed SELECT."""
    pools: list[db.Pool] = []

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        pools.append(await db.open_pool(dsn, size=10, name="bare"))
        yield
        await pools[0].close()

    app = FastAPI(lifespan=lifespan)

    @app.get("/accounts/{account_id}")
    async def read(account_id: str) -> dict[str, Any]:
        row = await pools[0].fetchrow("SELECT * FROM accounts WHERE account_id = $1", account_id)
        return {"id": row["account_id"], "state": row["state"], "since": row["since"], "facts": row["facts"]}

    return app


SYSTEMS: dict[str, Callable[[str], ASGIApp]] = {
    "baseline": baseline,
    "bare": lambda _dsn: bare,
    "cardrail": cardrail,
    "bare-read": bare_read,
}

if __name__ == "__main__":
    name, port, dsn_ = sys.argv[1:]
    uvicorn.run(
        SYSTEMS[name](dsn_),
        port=int(port),
        loop="uvloop",
        http=OneWriteProtocol if name == "cardrail" else "httptools",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
