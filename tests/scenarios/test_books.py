"""The books of accounts and of the platform equal Stripe's balance, and a difference is shown."""

import json
import os
import subprocess
import sys

from app.demo.fleet import PURCHASES
from tests.patience import PATIENCE_S
from tests.scenarios.asking import until
from tests.scenarios.conftest import World
from tests.scenarios.waiting import PLATFORM, Json, ask, control, member, objects, shows

WALLET = {"network": "polygon", "address": "0x52908400098527886E0F7030069857D2E4169EE7"}


async def books(world: World, account: str | None) -> Json:
    return await world.get(f"/v1/accounts/{account}/books")


async def balanced(world: World, account: str | None, currency: str, closing: int) -> Json:
    """The books once they are whole, in balance, and close with this much available."""

    def good(found: Json) -> bool:
        closings = [d["closing"]["available"] for d in found["days"] if d["currency"] == currency]
        return found["balanced"] is True and not found["entries_missing"] and closings == [closing]

    found = await until(lambda: books(world, account), good, f"books of {account}")
    return dict(next(d for d in found["days"] if d["currency"] == currency))


def command_line(dsn: str, *words: str) -> tuple[int, Json]:
    env = {**os.environ, "DATABASE_URL": dsn, "STRIPE_API_KEY": "sk_test_sandbox", "PLATFORM_ACCOUNT_ID": PLATFORM}
    ran = subprocess.run(
        [sys.executable, "-m", "app", "books", "--json", *words],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return ran.returncode, dict(json.loads(ran.stdout))


async def test_books_equal_stripes_balance_and_a_difference_is_shown(world: World, dsn: str) -> None:
    one = member("books-001")
    await world.enroll(one)
    left = 10_000 - sum(PURCHASES)
    wallet = await ask(world, one.account, "wallets", WALLET)
    assert wallet["state"] == "settled"
    (method,) = await objects(world, one.account, "payout_method")
    body = {"payout_method": method["id"], "amount": {"value": 1_000, "currency": "usdc"}, "currency": "usdc"}
    sent = await ask(world, one.account, "transfers", body)
    await shows(world, one.account, sent["object_id"], "posted")
    day = await balanced(world, one.account, "usdc", left - 1_000)
    assert day["opening"]["available"] + day["in"] - day["out"] == day["closing"]["available"]
    assert day["closing"]["outbound_pending"] == 0
    assert day["difference"] == {"available": 0, "inbound_pending": 0, "outbound_pending": 0}
    await balanced(world, PLATFORM, "usd", 100_000_000 - 10_000)
    # A correction by Stripe is an entry like any other.
    fa = day["financial_account"]
    await control(world, "adjustments", {"financial_account": fa, "amount": {"value": -250, "currency": "usdc"}})
    day = await balanced(world, one.account, "usdc", left - 1_250)
    assert day["by_category"]["adjustment"] == -250
    code, said = command_line(dsn)
    assert (code, said["balanced"]) == (0, True)
    # Money that moves without a transaction is found with the next reading of the balance.
    await control(world, "drifts", {"financial_account": fa, "amount": {"value": -77, "currency": "usdc"}})
    await control(world, "adjustments", {"financial_account": fa, "amount": {"value": 50, "currency": "usdc"}})

    def off(found: Json) -> bool:
        return not found["entries_missing"] and any(
            (d["difference"] or {}).get("available") == -77 for d in found["days"] if d["currency"] == "usdc"
        )

    found = await until(lambda: books(world, one.account), off, "the difference")
    assert found["balanced"] is False
    code, said = command_line(dsn, "--account", str(one.account))
    assert (code, said["off"]) == (1, [one.account])
