"""The chain of causes behind a journal: what happened, what we asked for because of it, and what came of that."""

import asyncio
import json

import httpx
import pytest
from typer.testing import CliRunner

from app.cli import build
from app.machines.commands import command_id
from app.machines.events import CommandSettled
from app.store import log
from app.wiring import Services
from tests.cli_forms import refused
from tests.machines import lives
from tests.ops.test_api import api
from tests.ops.test_replay import Drain, enroll

__all__ = ["api"]


async def lived(services: Services, drain: Drain) -> str:
    """An account that was enrolled, and whose financial account Stripe opened at our command."""
    await enroll(services)
    await drain()
    asked = command_id(lives.ACCOUNT, "financial_account/1")
    settled = lives.settled(5, "financial_account/1", "create_financial_account", "fa_1")
    assert isinstance(settled, CommandSettled)
    async with services.pool.acquire() as conn:
        await log.append(
            conn,
            account_id=lives.ACCOUNT,
            event_id=f"evt_{asked}_settled",
            source="response",
            type="command.settled",
            happenings=[settled, lives.financial_account(5)],
            at_ms=5,
            caused_by=asked,
        )
    await services.pool.execute("UPDATE outbox SET status = 'settled', object_id = 'fa_1'")
    await drain()
    return asked


async def test_a_chain_leads_from_event_to_transition_to_command_to_event(
    services: Services, api: httpx.AsyncClient, drain: Drain
) -> None:
    asked = await lived(services, drain)
    lines = (await api.get(f"/v1/accounts/{lives.ACCOUNT}/chain")).json()["data"]
    (begun,) = [line for line in lines if line["issued"] and line["issued"][0]["id"] == asked]
    assert (begun["event"]["type"], begun["from"], begun["to"]) == ("account.enrolled", "enrolled", "activated")
    assert (begun["issued"][0]["kind"], begun["issued"][0]["object_id"]) == ("create_financial_account", "fa_1")
    (answer,) = begun["issued"][0]["caused"]
    assert (answer["type"], answer["source"], answer["status"]) == ("command.settled", "response", "applied")
    (opened,) = [line for line in lines if line["machine"] == "financial_account"]
    assert opened["event"]["caused_by"] == asked


async def test_the_command_line_draws_the_chain_and_the_api_explains(
    services: Services, api: httpx.AsyncClient, drain: Drain, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)
    asked = await lived(services, drain)
    drawn = await asyncio.to_thread(CliRunner().invoke, build(), ["accounts", "journal", lives.ACCOUNT])
    assert drawn.exit_code == 0
    at = [drawn.output.index(part) for part in (f"-> create_financial_account {asked}", "-> response command.settled")]
    assert at == sorted(at)
    said = await asyncio.to_thread(CliRunner().invoke, build(), ["accounts", "explain", lives.ACCOUNT, "--json"])
    told = (await api.get(f"/v1/accounts/{lives.ACCOUNT}/explanation")).json()
    assert told["next_command"] == "create_outbound_payment"
    assert {k: v for k, v in json.loads(said.stdout).items() if k != "held"} == {
        k: v for k, v in told.items() if k != "held"
    }
    assert (await api.get("/v1/accounts/acct_none/explanation")).status_code == 404


@pytest.mark.parametrize(
    "line",
    ["cardrail accounts", "cardrail make coffee", "cardrail accounts hold acct_1", "cardrail doctor --loud", "ls"],
)
def test_a_line_that_is_no_command_is_refused(line: str) -> None:
    assert refused(line) is not None
