"""Operations on a real database, with the services that production builds, and a way to fold what is pending."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from app.config import Settings
from app.flow.apply import Applier
from app.wiring import Services, open_services
from tests.polls import polled

PLATFORM = "acct_platform"


@pytest_asyncio.fixture
async def services(dsn: str) -> AsyncIterator[Services]:
    settings = Settings.model_validate(
        {
            "DATABASE_URL": dsn,
            "PLATFORM_ACCOUNT_ID": PLATFORM,
            "PLATFORM_FINANCIAL_ACCOUNT_ID": "fa_platform",
            "CARDRAIL_POOL_SIZE": "4",
            "STRIPE_API_BASE": "http://127.0.0.1:9",
        }
    )
    async with open_services(settings) as opened:
        yield opened


@pytest.fixture
def drain(services: Services) -> Callable[[], Awaitable[None]]:
    """Fold everything that is pending."""
    applier = Applier(
        services.pool,
        services.stripe,
        services.programme,
        platform_account=PLATFORM,
        vocabulary="money_manager",
        clock=services.clock,
    )

    async def go() -> None:
        while await polled(applier):
            pass

    return go
