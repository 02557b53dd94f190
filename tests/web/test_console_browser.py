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
        page.on("dialog", lambda dialog: dialog.accept())
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


async def test_a_dangerous_button_asks_and_however_often_it_is_pressed_it_acts_once(
    services: Services, app: FastAPI
) -> None:
    """No to the question leaves everything as it is; two clicks on one form are one action."""
    asked: list[str] = []
    async with listening(app) as live, async_playwright() as player:
        browser = await player.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        page = await browser.new_page(base_url=str(live.base_url))
        page.set_default_timeout(15_000)
        answers = [False, True]

        async def answered(dialog: Any) -> None:
            asked.append(dialog.message)
            await (dialog.accept() if answers.pop(0) else dialog.dismiss())

        page.on("dialog", answered)
        await page.goto("/console/brakes")
        await page.get_by_label("API key").fill(ADMIN)
        await page.get_by_role("button", name="Log in").click()
        await page.wait_for_url("**/console/brakes")
        await page.get_by_label("Stop: reason").fill("seen in the browser")
        stop = page.get_by_role("button", name="Stop it everywhere")
        await stop.click()
        assert await services.pool.fetchval("SELECT count(*) FROM brakes") == 0
        await stop.dblclick()
        await page.get_by_text("The brake is on").wait_for()
        await browser.close()
    assert asked == ["Stop it everywhere?\n\nBrakes"] * 2
    assert await services.pool.fetchval("SELECT count(*) FROM operator_actions WHERE action LIKE '%brake%'") == 1


async def test_every_page_fits_a_telephone_and_the_menu_a_laptop(services: Services, page: Any) -> None:
    """Nothing is wider than the screen but tables in a box of their own; with a long name the header stays one line."""
    await seed(services)
    paths = [
        "",
        "accounts",
        "accounts/acct_1",
        "events",
        "commands",
        "parked",
        "authorizations",
        "brakes",
        "replays",
        "audit",
    ]
    for path in paths:
        for width in (390, 1300):
            await page.set_viewport_size({"width": width, "height": 900})
            await page.goto(f"/console/{path}")
            assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (path, width)
    await page.evaluate("document.querySelector('.who b').textContent = 'the engineer who is on call tonight'")
    assert await page.evaluate("document.querySelector('.top').offsetHeight") < 60
