"""The app over ASGI on a real database of the test's own, with the services that production builds."""

import contextlib
from collections.abc import AsyncIterator, Callable

import asyncpg
import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from app.config import Settings
from app.store import keys
from app.web.main import create_app
from app.wiring import Services, open_services

ADMIN = "ck_test_admin"


@contextlib.asynccontextmanager
async def services_with(dsn: str, **settings: str) -> AsyncIterator[Services]:
    """The services that production builds, with these settings by the names of their variables."""
    given = {
        "DATABASE_URL": dsn,
        "PLATFORM_ACCOUNT_ID": "acct_platform",
        "PLATFORM_FINANCIAL_ACCOUNT_ID": "fa_platform",
        "CARDRAIL_ADMIN_KEY": ADMIN,
        "CARDRAIL_POOL_SIZE": "4",
        **settings,
    }
    async with open_services(Settings.model_validate(given)) as opened:
        yield opened


@pytest_asyncio.fixture
async def services(dsn: str) -> AsyncIterator[Services]:
    async with services_with(dsn) as opened:
        yield opened


@pytest.fixture
def app(services: Services) -> FastAPI:
    return create_app(services)


@pytest_asyncio.fixture
async def anyone(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://cardrail") as client:
        yield client


@contextlib.asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the admin's key."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {ADMIN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://cardrail", headers=headers) as client:
        yield client


@pytest_asyncio.fixture
async def api(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


@pytest_asyncio.fixture
async def with_key(services: Services, app: FastAPI) -> AsyncIterator[Callable[[str], object]]:
    """Headers with a fresh key of a scope."""

    async def make(scope: str) -> dict[str, str]:
        async with services.pool.acquire() as conn:
            _, key = await keys.create(conn, name=f"test {scope}", scope=scope)
        return {"Authorization": f"Bearer {key}"}

    yield make


async def add_account(pool: asyncpg.Pool, account_id: str, *, state: str = "live", **columns: object) -> None:
    """An account as apply would have left it."""
    values = {"enrolled": True, "country": "MX", "facts": {}, "version": 1, **columns}
    names = ", ".join(values)
    marks = ", ".join(f"${i}" for i in range(3, 3 + len(values)))
    await pool.execute(
        f"INSERT INTO accounts (account_id, state, {names}) VALUES ($1, $2, {marks})",
        account_id,
        state,
        *values.values(),
    )
