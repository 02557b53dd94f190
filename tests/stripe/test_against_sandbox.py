"""Every step of the guide, built by us and accepted by the sandbox over HTTP."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from app.stripe.client import Reading, Stripe
from app.stripe.outcome import Settled
from app.stripe.requests import build
from tests.patience import PATIENCE_S

RUN = "from app.sandbox.server import run; from app.sandbox.settings import SandboxSettings as S; run(S(port=0, step_delay_s=0))"
VERSION = "2026-10-14.preview"
HOLDER: dict[str, Any] = {
    "type": "individual",
    "name": "Ana Prueba",
    "email": "ana@example.com",
    "phone_number": "+525512345678",
    "individual": {"first_name": "Ana", "last_name": "Prueba", "dob": {"day": 1, "month": 2, "year": 1990}},
    "billing": {
        "address": {"line1": "Calle 1", "city": "CDMX", "postal_code": "06000", "country": "MX", "state": "MX"}
    },
    "user_terms_acceptance": {"date": 1_790_000_000, "ip": "203.0.113.7"},
}


@pytest.fixture
async def client() -> AsyncIterator[Stripe]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", RUN, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    url = (await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode().split('"')[3]
    stripe = Stripe("sk_test_sandbox", url, VERSION, rate_per_s=1000)
    yield stripe
    await stripe.close()
    process.terminate()
    await process.wait()


async def made(client: Stripe, kind: str, account: str, params: dict[str, Any]) -> str:
    request = build(kind, params, account_id=account, version=VERSION, metadata={"cardrail_command": f"cmd_{kind}"})
    answer = await client.call(request, f"key-{kind}")
    assert isinstance(answer, Settled), answer
    assert answer.object_id is not None
    again = await client.call(request, f"key-{kind}")
    assert isinstance(again, Settled), again
    assert again.object_id == answer.object_id
    found = await client.find_made(request, f"cmd_{kind}", datetime.now(UTC))
    assert found is not None
    assert found["id"] == answer.object_id
    return answer.object_id


async def verified(client: Stripe, account: str) -> None:
    """Wait until the sandbox has checked the holder by itself and the account may make cards."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await client.read(
                f"/v2/core/accounts/{account}", context=None, include=("configuration.card_creator",)
            )
            if isinstance(answer, Reading) and '"active"' in json.dumps(answer.object):
                return
            await asyncio.sleep(0.05)


async def until(client: Stripe, url: str, context: str, status: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await client.read(url, context=context)
            if isinstance(answer, Reading) and answer.object.get("status") == status:
                return
            await asyncio.sleep(0.05)


async def test_the_guide_from_account_to_card(client: Stripe) -> None:
    params: dict[str, Any] = {"contact_email": "a@example.com", "display_name": "Demo", "country": "MX"}
    account = await made(client, "create_account", "acct_x", {**params, "entity_type": "individual"})
    await verified(client, account)
    fa = await made(client, "create_financial_account", account, {"currencies": ["usdc"], "display_name": "Wallet"})
    url = f"/v2/money_management/financial_accounts/{fa}"
    await until(client, url, account, "open")
    pay = {"recipient": account, "payout_method": fa, "amount": {"value": 10_000, "currency": "usd"}}
    source = {"from_financial_account": "fa_test_platform", "to_currency": "usdc"}
    await made(client, "create_outbound_payment", account, {**pay, **source})
    holder = await made(client, "create_cardholder", account, HOLDER)
    await made(client, "create_card", account, {"cardholder": holder, "type": "virtual", "financial_account_v2": fa})
