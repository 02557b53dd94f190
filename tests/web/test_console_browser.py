"""The console in a real browser: log in, watch an account live, hold and release it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from fastapi import FastAPI
from playwright.async_api import async_playwright

from app.wiring import Services
from tests.patience import PATIENCE_S
from tests.web.conftest import ADMIN
from tests.web.console_desk import seed
from tests.web.test_api_streams import listening, write

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--disable-component-update",
]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium was found on the PATH: the console was not seen in a browser"
    ),
]


@pytest_asyncio.fixture
async def page(app: FastAPI) -> AsyncIterator[Any]:
    """A page of a browser that is logged in. Whatever the browser complains about fails the test."""
    complaints: list[str] = []
    async with listening(app) as live, async_playwright() as player:
        browser = await player.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        page = await browser.new_page(base_url=str(live.base_url), viewport={"width": 1280, "height": 900})
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        await page.goto("/console/brakes")
        await page.get_by_label("API key").fill(ADMIN)
        await page.get_by_role("button", name="Log in").click()
        await page.wait_for_url("**/console/brakes")
        yield page
        await browser.close()
    assert complaints == []


async def test_an_account_page_keeps_itself_current_and_stops_and_releases_the_account(
    services: Services, page: Any
) -> None:
    await seed(services)
    await page.goto("/console/accounts/acct_1")
    await page.get_by_text("Live", exact=True).wait_for()
    await page.evaluate("window.sameDocument = true")
    await write(services.pool, "acct_1", 2)
    await page.locator("#line-2").wait_for()
    assert await page.evaluate("window.sameDocument")
    assert "fresh" in (await page.locator("#line-2").get_attribute("class") or "")

    await page.get_by_label("Hold: Reason").fill("seen in the browser")
    await write(services.pool, "acct_1", 3)
    await page.locator("#line-3").wait_for()
    assert await page.get_by_label("Hold: Reason").input_value() == "seen in the browser"
    await page.get_by_role("button", name="Hold", exact=True).click()
    await page.get_by_text("Held by bootstrap: seen in the browser").wait_for()
    await page.get_by_label("Release: Reason").fill("over")
    await page.get_by_role("button", name="Release", exact=True).click()
    await page.get_by_text("Released. Automation goes on").wait_for()
    async with asyncio.timeout(PATIENCE_S):
        assert await services.pool.fetchval("SELECT hold FROM accounts WHERE account_id = 'acct_1'") is None
