"""Onboarding over HTTP, in both vocabularies: capabilities, persons, requirements, falling back and returning, closing."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app.demo.fleet import Member
from tests.scenarios.asking import Account, until
from tests.scenarios.conftest import World, opened

OLD, NEW = "2026-06-10.preview", "2026-10-14.preview"
PREPAID = "card_creator.commercial.lead.prepaid_card"
STORAGE = {OLD: "storer.holds_currencies.usdc", NEW: "money_manager.business_storage.inbound.usdc"}
ASKED = {
    "merchant.card_payments",
    "money_manager.business_storage.inbound.usdc",
    "money_manager.business_storage.outbound.usdc",
    "money_manager.outbound_transfers.crypto_wallets",
    "money_manager.outbound_transfers.bank_accounts",
    PREPAID,
}


@pytest_asyncio.fixture(params=[OLD, NEW])
async def spoken(
    request: pytest.FixtureRequest, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[World, str]]:
    """A world where both sides speak this version."""
    monkeypatch.setenv("STRIPE_API_VERSION", request.param)
    async with opened(dsn, tmp_path) as one:
        yield one, request.param


class Holder(Account):
    """An account with what its holder, and Stripe's people, do."""

    async def sandbox(self, path: str, body: dict[str, Any]) -> None:
        answer = await self.world.sandbox.post(f"/_sandbox/accounts/{self.id}/{path}", json=body)
        assert answer.is_success, answer.text

    async def is_(self, state: str) -> dict[str, Any]:
        read = lambda: self.world.get(self.path)  # noqa: E731 - a thunk
        return dict(await until(read, lambda a: a["state"] == state, state, seconds=40))

    async def told(self, event_type: str) -> None:
        path = f"/v1/events?account={self.id}&type={event_type}&status=applied"
        await until(lambda: self.world.get(path), lambda page: page["data"], event_type)


async def enrolled(world: World) -> Holder:
    member = Member("onboard-001", "MX", "+kyc_slow", "live")
    await world.enroll(member, end=False)
    found = await until(
        lambda: world.get(f"/v1/enrollments/{member.enrollment}"), lambda e: e["account"], "account", seconds=40
    )
    return Holder(world, str(found["account"]))


async def test_an_account_from_enrollment_to_its_closing(spoken: tuple[World, str]) -> None:
    world, version = spoken
    account = await enrolled(world)
    seen = await account.is_("verifying")
    assert set(seen["capabilities"]) == ASKED
    await who_must_do_what(account)
    await persons(account, version)
    link = await account.ask("onboarding-links", {})
    assert (link["state"], link["url"].startswith("https://")) == ("settled", True)
    await account.sandbox("link_returns", {})
    for what in ("account[identity].updated", "account_link.returned"):
        await account.told(f"v2.core.{what}")
    await account.sandbox("kyc", {"outcome": "verified"})
    await account.is_("live")
    for path, status, state in (
        (PREPAID, "restricted", "restricted"),
        (STORAGE[version], "rejected", "rejected"),
        (PREPAID, "unsupported", "rejected"),
    ):
        await account.sandbox("capabilities", {"path": path, "status": status})
        await account.is_(state)
        await account.sandbox("capabilities", {"path": path, "status": "active"})
        await account.is_("live")
    assert len(await account.objects("outbound_payment")) == 1
    assert len(await account.objects("card")) == 1
    await closing(account)


async def who_must_do_what(account: Holder) -> None:
    """Present requirements and announced ones, in the account and in its explanation."""
    due = [
        {"field": "identity.individual.id_numbers", "who": "user", "deadline": "currently_due"},
        {"field": "identity.individual.documents", "who": "stripe", "deadline": "eventually_due"},
    ]
    ahead = [{"field": "identity.attestations", "deadline": "eventually_due", "time": "2027-01-01T00:00:00Z"}]
    await account.sandbox("requirements", {"entries": ahead, "future": True})
    await account.sandbox("requirements", {"entries": due})
    await account.is_("onboarding")
    seen = await until(lambda: account.world.get(account.path), lambda a: len(a["requirements"]) == 3, "requirements")
    told = [(r["what"], r["who"], r["by"], r["future"]) for r in seen["requirements"]]
    assert told == [
        ("identity.individual.id_numbers", "holder", "now", False),
        ("identity.individual.documents", "stripe", None, False),
        ("identity.attestations", "holder", "2027-01-01T00:00:00Z", True),
    ]
    assert seen["requirements"][0]["consequence"].endswith("prepaid_card stop working")
    explained = await account.world.get(f"{account.path}/explanation")
    assert explained["requirements"] == seen["requirements"]
    assert (explained["waiting_for"]["who"], "id_numbers" in explained["waiting_for"]["what"]) == ("holder", True)


async def persons(account: Holder, version: str) -> None:
    """A person of the account comes, changes and goes: each event is kept, none is needed."""
    headers = {"Authorization": "Bearer sk_test_sandbox", "Stripe-Version": version}
    path, sandbox = f"/v2/core/accounts/{account.id}/persons", account.world.sandbox
    made = (await sandbox.post(path, json={"given_name": "Zenobia"}, headers=headers)).json()
    changed = await sandbox.post(f"{path}/{made['id']}", json={"surname": "Quux"}, headers=headers)
    assert (changed.json()["given_name"], changed.json()["surname"]) == ("Zenobia", "Quux")
    assert (await sandbox.delete(f"{path}/{made['id']}", headers=headers)).json()["deleted"]
    assert (await sandbox.get(f"{path}/{made['id']}", headers=headers)).status_code == 404
    for what in ("created", "updated", "deleted"):
        await account.told(f"v2.core.account_person.{what}")


async def closing(account: Holder) -> None:
    """Refused while it holds money; then Stripe closes it, and nothing more can be asked."""
    assert await account.refused("closures", {}) == (422, "invalid")
    assert await account.refused("closures", {"reason": "left"}) == (409, "account_holds_money")
    address = "0x52908400098527886E0F7030069857D2E4169EE7"
    await account.ask("wallets", {"network": "polygon", "address": address})
    (method,) = await account.objects("payout_method")
    everything = {"value": 10_000, "currency": "usdc"}
    sent = await account.ask("transfers", {"payout_method": method["id"], "amount": everything, "currency": "usdc"})
    await account.shows(sent["object_id"], "posted")
    empty = {"value": 0, "currency": "usdc"}
    await until(
        lambda: account.world.get(account.path),
        lambda a: a["balance"]["available"] == a["balance"]["outbound_pending"] == empty,
        "empty",
    )
    await account.ask("closures", {"reason": "left"})
    await account.is_("closed")
    assert await account.refused("closures", {"reason": "left"}) == (409, "account_closed")
