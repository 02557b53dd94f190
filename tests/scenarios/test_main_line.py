"""The main line end to end: real processes, signed webhooks, a Stripe that remembers and misbehaves."""

from typing import Any

from app.demo.fleet import Member
from app.demo.main import FAULTS
from tests.patience import PATIENCE_S
from tests.scenarios.asking import until
from tests.scenarios.conftest import World


def member(number: int, tag: str = "", end: str = "live", fundings: int = 1) -> Member:
    return Member(f"it-{number:03}", ("MX", "AR")[number % 2], tag, end, fundings=fundings)


async def created(world: World) -> dict[str, Any]:
    return dict((await world.sandbox.get("/_sandbox/requests")).json())


async def test_an_enrollment_becomes_a_live_card_that_spends(town: World) -> None:
    one = member(1)
    await town.enroll(one)
    account = await town.get(f"/v1/accounts/{one.account}")
    assert account["state"] == "live"
    assert account["card_count"] == 1
    assert account["waiting_for"] is None
    journal = await town.drive.everything(f"/v1/accounts/{one.account}/journal")
    stages = [line["to"] for line in journal if line["machine"] == "lifecycle" and line["from"] != line["to"]]
    assert stages[-1] == "live"
    commands = await until(
        lambda: town.drive.everything(f"/v1/commands?account={one.account}"),
        lambda rows: {c["status"] for c in rows} == {"settled"},  # the account may be live before, by webhook
        "settled commands",
    )
    assert sorted(c["kind"] for c in commands) == [
        "create_card",
        "create_cardholder",
        "create_financial_account",
        "create_outbound_payment",
    ]


async def test_kyc_restricts_one_and_a_failed_payment_is_funded_by_a_second_intent(town: World) -> None:
    restricted = member(11, "+kyc_restricted", "restricted")
    failing = member(12, "+payment_fails_once", fundings=2)
    await town.enroll(restricted, failing)
    payments = await town.drive.objects(failing, "outbound_payment")
    assert sorted(p["state"] for p in payments) == ["failed", "posted"]
    account = await town.get(f"/v1/accounts/{restricted.account}")
    assert account["waiting_for"]["who"] in ("holder", "stripe")


async def test_with_every_fault_on_and_kills_nothing_is_done_twice(world: World) -> None:
    (await world.sandbox.put("/_sandbox/faults", json=FAULTS)).raise_for_status()
    members = [member(n) for n in range(4)]
    await world.enroll(*members, end=False)
    for part in ("server", "worker"):
        world.parts.kill(part)
    await world.drive.run(PATIENCE_S, lambda _: None)
    for one in members:
        for kind, count in (("card", 1), ("cardholder", 1), ("financial_account", 1), ("outbound_payment", 1)):
            assert len(await world.drive.objects(one, kind)) == count
    ledger = (await world.sandbox.get("/_sandbox/ledger")).json()
    assert ledger["balanced"] is True
