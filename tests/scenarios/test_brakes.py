"""A step that Stripe refuses for everybody stops itself, is seen everywhere, and goes on without loss once released."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.demo.fleet import Member
from tests.patience import PATIENCE_S
from tests.scenarios.conftest import World, opened
from tests.scenarios.test_faults import target

CARDS = "/v1/issuing/cards"


@pytest_asyncio.fixture
async def touchy(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """The running parts under a programme that stops a step after three errors."""
    programme = tmp_path / "programme.toml"
    programme.write_text("[brakes]\nerrors = 3\naccounts = 3\n")
    monkeypatch.setenv("CARDRAIL_PROGRAMME", str(programme))
    async with opened(dsn, tmp_path) as one:
        yield one


async def brake(world: World) -> dict[str, Any]:
    """The one brake that is on, once it is."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            rows = (await world.get("/v1/brakes"))["data"]
            if rows:
                (row,) = rows
                return dict(row)
            await asyncio.sleep(0.1)


async def gauge(world: World, name: str) -> str:
    """The line of this gauge, once it is there: the server reads it from the database every few seconds."""
    async with asyncio.timeout(PATIENCE_S), httpx.AsyncClient(base_url=world.parts.url) as anyone:
        while True:
            found = re.search(rf"^{re.escape(name)}\{{.*$", (await anyone.get("/metrics")).text, re.MULTILINE)
            if found:
                return found[0]
            await asyncio.sleep(0.2)


async def waiting(world: World, one: Member) -> dict[str, Any]:
    """The explanation of an account, once it has a card to make."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await world.drive._look(one)
            if one.account and one.state == "cardholder_ready":
                told = await world.get(f"/v1/accounts/{one.account}/explanation")
                if told["next_call"]:
                    return told
            await asyncio.sleep(0.1)


async def test_a_burst_of_refusals_stops_the_step_until_a_person_releases_it(touchy: World) -> None:
    await target(touchy, "POST", CARDS, "api_400", times=3)
    burst = [Member(f"burst-{n:03}", "MX", "", "cardholder_ready") for n in range(3)]
    await touchy.enroll(*burst)
    on = await brake(touchy)
    assert (on["step"], on["by"]) == ("create_card", "cardrail")
    assert "3 commands failed" in on["reason"]
    assert 'set_by="cardrail",step="create_card"} 1.0' in await gauge(touchy, "cardrail_brake_on")

    late = Member("late-001", "MX", "", "live")
    await touchy.enroll(late, end=False)
    told = await waiting(touchy, late)
    assert (told["waiting_for"]["who"], told["next_call"]["stopped"]) == ("operator", True)
    assert "cardrail brakes release create_card" in told["commands"][0]
    (command,) = (await touchy.get(f"/v1/commands?account={late.account}&kind=create_card"))["data"]
    assert (command["status"], command["attempts"]) == ("pending", 0)

    body = {"on": False, "reason": "Stripe is well again"}
    assert (await touchy.api.put("/v1/brakes/create_card", json=body)).is_success
    await touchy.drive.run(PATIENCE_S, lambda _: None)
    assert (await touchy.get("/v1/brakes"))["data"] == []
    made = (await touchy.sandbox.get("/_sandbox/requests")).json()["created"]
    assert made["issuing.card"] == 1

    told = await touchy.get(f"/v1/accounts/{burst[0].account}/explanation")
    assert "cardrail accounts retry" in told["commands"][0]
    attempts = f"/v1/accounts/{burst[0].account}/attempts"
    assert (await touchy.api.post(attempts, json={"reason": "Stripe is well again"})).status_code == 202
    burst[0].end = "live"
    touchy.drive.members = [burst[0]]
    await touchy.drive.run(PATIENCE_S, lambda _: None)
    again = await touchy.api.post(attempts, json={"reason": "once too often"})
    assert (again.status_code, again.json()["code"]) == (409, "nothing_refused")
