"""Cards and their holders, over HTTP against the sandbox: one fleet, one live account, every way a card can go."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from app.demo.fleet import Member
from app.store import db
from tests.scenarios.asking import Account, until
from tests.scenarios.conftest import World

ADDRESS = {"line1": "Calle 7", "city": "Cancun", "state": "ROO", "postal_code": "77500", "country": "MX"}
SHIPPING = {"name": "Ana Demo", "address": ADDRESS, "service": "express", "require_signature": True}
COMPANY = {"type": "company", "name": "Taller Demo", "email": "a@b.example.com", "billing": {"address": ADDRESS}}
SEALED = "eyJhbGciOiJSU0EtT0FFUC0yNTYifQ" + "x" * 80
"""A PIN as Stripe's public key would seal it."""


@pytest_asyncio.fixture(scope="module")
async def one(town: World) -> AsyncIterator[Account]:
    member = Member("cards-001", "MX", "", "live")
    await town.enroll(member)
    yield Account(town, str(member.account))


async def card(one: Account, **body: Any) -> str:
    """A new card's id."""
    made = await one.ask("cards", {"type": "virtual", **body})
    assert made["state"] == "settled", made
    return str(made["object_id"])


async def purchase(one: Account, of: str, amount: int = 100, **more: Any) -> str:
    """Why the purchase was approved or declined."""
    bought = await one.control("purchases", account=one.id, card=of, amount=amount, capture=False, **more)
    return str(bought["reason"])


async def kept(world: World, text: str) -> list[str]:
    """The tables that hold this text anywhere, and the log."""
    conn = await db.connect(world.dsn)
    try:
        found = []
        for row in await conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            name = row["tablename"]
            spelt = "encode(payload, 'escape')" if name == "events" else "''"
            query = f"SELECT count(*) FROM {name} AS t WHERE t::text LIKE $1 OR {spelt} LIKE $1"
            found += [name] if await conn.fetchval(query, f"%{text}%") else []
    finally:
        await conn.close()
    return found + (["log"] if text in (world.folder / "demo.log").read_text() else [])


async def test_a_company_holds_a_card_once_its_requirements_are_met(one: Account) -> None:
    made = await one.ask("cardholders", COMPANY)
    holder = await one.shows(made["object_id"], "active")
    assert (holder["type"], holder["past_due"]) == ("company", ["company.tax_id"])
    assert holder["disabled_reason"] == "requirements.past_due"
    assert "Taller" not in str(holder)
    its_card = await card(one, cardholder=holder["id"])
    assert await purchase(one, its_card) == "cardholder_verification_required"
    met = await one.ask(f"cardholders/{holder['id']}", {"company": {"tax_id": "TDE010101AB1"}}, "PATCH")
    assert met["state"] == "settled"
    await one.shows(holder["id"], lambda h: h["disabled_reason"] == "" and h["tax_id_provided"])
    assert await purchase(one, its_card) == "card_active"
    wrong = {"individual": {"first_name": "Ana"}}
    assert await one.refused(f"cardholders/{holder['id']}", wrong, "PATCH") == (422, "invalid")


async def test_an_individual_accepts_the_terms_is_screened_and_deactivated(one: Account) -> None:
    person = {"first_name": "Eva", "last_name": "Demo", "dob": {"day": 2, "month": 3, "year": 1991}}
    body = {"name": "Eva Demo", "individual": person, "billing": {"address": ADDRESS}}
    made = await one.ask("cardholders", body)
    holder = str(made["object_id"])
    terms = await one.shows(holder, lambda h: h.get("past_due"))
    assert terms["past_due"] == [f"individual.card_issuing.user_terms_acceptance.{part}" for part in ("date", "ip")]
    assert terms["terms_accepted"] is False
    accepted = {"user_terms_acceptance": {"date": 1_790_000_000, "ip": "192.0.2.9"}, "phone_number": "+525500000001"}
    await one.ask(f"cardholders/{holder}", accepted, "PATCH")
    await one.shows(holder, lambda h: h["terms_accepted"] and not h["disabled_reason"])
    await one.ask(f"cardholders/{holder}/deactivations", {"reason": "left the company"})
    await one.shows(holder, "inactive")
    assert await one.refused("cards", {"type": "virtual", "cardholder": holder}) == (409, "cardholder_inactive")
    await one.ask(f"cardholders/{holder}/deactivations", None, "DELETE")
    await one.shows(holder, "active")
    await one.control(f"cardholders/{holder}/screening", reason="rejected.listed")
    await one.shows(holder, "blocked")
    again = await one.refused(f"cardholders/{holder}/deactivations", {"reason": "x"})
    assert again == (409, "cardholder_blocked")


async def test_an_account_waits_for_its_cardholders_requirements(one: Account) -> None:
    (first, *_) = await one.objects("cardholder")
    account = await one.world.get(one.path)
    await one.control(f"cardholders/{account['cardholder']}/screening", reason="under_review")
    waiting = await until(lambda: one.world.get(one.path), lambda a: a["state"] == "funded", "under review")
    assert waiting["waiting_for"]["who"] == "stripe"
    assert "under_review" in waiting["waiting_for"]["what"]
    await one.control(f"cardholders/{account['cardholder']}/screening", reason=None)
    await until(lambda: one.world.get(one.path), lambda a: a["state"] == "live", "review over")
    assert first["kind"] == "cardholder"


async def test_a_physical_card_travels_to_its_holder(one: Account) -> None:
    assert await one.refused("cards", {"type": "physical"}) == (422, "invalid")
    standard = {"type": "physical", "shipping": {**SHIPPING, "service": "standard"}}
    assert await one.refused("cards", standard) == (422, "invalid")
    plastic = await card(one, type="physical", shipping=SHIPPING, status="inactive")
    sent = await one.shows(plastic, "inactive")
    assert (sent["shipping"]["status"], sent["shipping"]["service"]) == ("pending", "express")
    for step in ("submit", "ship", "deliver"):
        await one.helper(f"cards/{plastic}/shipping/{step}")
    moved = await one.shows(plastic, lambda c: c["shipping"]["status"] == "delivered")
    assert moved["shipping"]["tracking_number"]
    assert moved["shipping"]["tracking_url"].startswith("https://")
    assert "Calle" not in str(moved)
    assert await purchase(one, plastic) == "card_inactive"
    await one.ask(f"cards/{plastic}/activations")
    await one.shows(plastic, "active")
    notes = [line["note"] for line in await one.journal() if line["object_id"] == plastic and line["note"]]
    assert notes[0] == "shipping: pending"
    assert notes[-1].endswith("-> delivered")


@pytest.mark.parametrize(
    ("steps", "status"), [(("submit", "ship", "return"), "returned"), (("submit", "fail"), "failure"), ((), "canceled")]
)
async def test_a_card_that_does_not_arrive(one: Account, steps: tuple[str, ...], status: str) -> None:
    plastic = await card(one, type="physical", shipping={**SHIPPING, "service": "priority"})
    assert (await one.shows(plastic, lambda c: c.get("shipping")))["shipping"]["service"] == "priority"
    for step in steps:
        await one.helper(f"cards/{plastic}/shipping/{step}")
    if not steps:
        await one.ask(f"cards/{plastic}/cancellations", {"reason": "not needed any more"})
    await one.shows(plastic, lambda c: c["shipping"]["status"] == status)


async def test_a_virtual_card_is_replaced_at_once(one: Account) -> None:
    limits = {"spending_limits": [{"amount": 50_000, "interval": "daily"}]}
    old = await card(one, spending_controls=limits)
    made = await one.ask(f"cards/{old}/replacements", {"reason": "stolen"})
    new = await one.shows(made["object_id"], "active")
    assert (new["replacement_for"], new["replacement_reason"]) == (old, "stolen")
    assert new["spending_controls"]["spending_limits"][0]["amount"] == 50_000
    gone = await one.shows(old, "canceled")
    assert gone["cancellation_reason"] == "stolen"
    await one.shows(old, lambda c: c.get("replaced_by") == new["id"])
    assert await one.refused(f"cards/{old}/replacements", {"reason": "lost"}) == (409, "card_replaced")
    assert await one.refused(f"cards/{old}/freezes", {"reason": "x"}) == (409, "card_canceled")


async def test_a_physical_card_works_until_the_new_one_is_activated(one: Account) -> None:
    old = await card(one, type="physical", shipping=SHIPPING)
    assert await one.refused(f"cards/{old}/replacements", {"reason": "damaged"}) == (422, "invalid")
    made = await one.ask(f"cards/{old}/replacements", {"reason": "damaged", "shipping": SHIPPING})
    new = await one.shows(made["object_id"], "inactive")
    assert (await one.look(old))["state"] == "active"
    await one.ask(f"cards/{new['id']}/activations")
    await one.shows(new["id"], "active")
    await one.shows(old, "canceled")
    lines = [line for line in await one.journal() if line["commands"] and line["machine"] == "lifecycle"]
    assert any(line["event_id"] for line in lines)


async def test_spending_controls_hold_at_stripe_and_are_replaced_whole(one: Account) -> None:
    blocked = {"blocked_categories": ["eating_places_restaurants"], "blocked_card_presences": ["present"]}
    limited = await card(one, spending_controls=blocked)
    assert await purchase(one, limited) == "spending_controls"
    controls = {"spending_limits": [{"amount": 500, "interval": "per_authorization"}]}
    changed = await one.ask(f"cards/{limited}/spending-controls", controls, "PUT")
    assert changed["state"] == "settled", changed
    shown = await one.shows(limited, lambda c: c["spending_controls"]["spending_limits"])
    assert shown["spending_controls"]["blocked_categories"] == []
    assert [await purchase(one, limited, amount) for amount in (500, 501)] == ["card_active", "spending_controls"]
    holder = shown["cardholder"]
    await one.ask(f"cardholders/{holder}/spending-controls", {"blocked_merchant_countries": ["us"]}, "PUT")
    await one.shows(holder, lambda h: (h.get("spending_controls") or {}).get("blocked_merchant_countries") == ["US"])
    assert await purchase(one, limited) == "spending_controls"
    await one.ask(f"cardholders/{holder}/spending-controls", {}, "PUT")
    await one.shows(holder, lambda h: h["spending_controls"]["blocked_merchant_countries"] == [])


@pytest.mark.parametrize(
    "controls",
    [
        {"allowed_categories": ["a1"], "blocked_categories": ["b1"]},
        {"allowed_merchant_countries": ["US"], "blocked_merchant_countries": ["MX"]},
        {"allowed_card_presences": ["present"], "blocked_card_presences": ["not_present"]},
        {"allowed_card_presences": ["nearby"]},
        {"allowed_merchant_countries": ["USA"]},
        {"spending_limits": [{"amount": 0, "interval": "daily"}]},
        {"spending_limits": [{"amount": 100, "interval": "hourly"}]},
        {"spending_limits": [{"amount": 1_000_001, "interval": "per_authorization"}]},
    ],
)
async def test_spending_controls_that_cannot_be_meant(one: Account, controls: dict[str, Any]) -> None:
    assert await one.refused("cards", {"type": "virtual", "spending_controls": controls}) == (422, "invalid")
    (first, *_) = await one.objects("card")
    assert await one.refused(f"cards/{first['id']}/spending-controls", controls, "PUT") == (422, "invalid")


async def test_a_pin_passes_through_and_stands_nowhere(one: Account) -> None:
    mine = await card(one)
    headers = {"Idempotency-Key": "pin-1"}
    path = f"{one.path}/cards/{mine}/pin-changes"
    for _ in range(2):
        answer = await one.world.api.post(path, json={"encrypted_number": SEALED}, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"card": mine, "changed": True})
        assert answer.headers["Cache-Control"] == "no-store"
    clear = await one.world.api.post(path, json={"pin": "4711"})
    assert clear.status_code == 422
    assert "4711" not in clear.text
    assert await one.refused(f"cards/{mine}/pin-changes", {"encrypted_number": "4711"}) == (422, "invalid")
    assert await kept(one.world, SEALED) == []
    assert await kept(one.world, mine) != []


async def test_an_ephemeral_key_is_answered_and_not_kept(one: Account) -> None:
    mine = await card(one)
    path = f"{one.path}/cards/{mine}/ephemeral-keys"
    answer = await one.world.api.post(path, json={"nonce": "nonce-1"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["secret"].startswith("ek_test_")
    assert answer.headers["Cache-Control"] == "no-store"
    assert await kept(one.world, answer.json()["secret"]) == []
    again = await one.world.api.post(path, json={"nonce": "nonce-1"})
    assert (again.status_code, again.json()["stripe_code"]) == (422, "nonce_used")
    await one.ask(f"cards/{mine}/cancellations", {"reason": "test"})
    await one.shows(mine, "canceled")
    assert await one.refused(f"cards/{mine}/ephemeral-keys", {"nonce": "n2"}) == (409, "card_canceled")


async def test_a_card_in_a_digital_wallet(one: Account) -> None:
    mine = await card(one)
    token = str((await one.control("tokens", card=mine, wallet_provider="google_pay", held=True))["id"])
    asked = await one.shows(token, "requested")
    assert (asked["card"], asked["wallet_provider"]) == (mine, "google_pay")
    assert asked["provisioning_decision"] == "approve_pending_id_and_v"
    await one.control(f"tokens/{token}", status="active")
    await one.shows(token, "active")
    await one.ask(f"tokens/{token}/suspensions", {"reason": "phone lost"})
    await one.shows(token, "suspended")
    await one.ask(f"tokens/{token}/suspensions", None, "DELETE")
    await one.shows(token, "active")
    await one.ask(f"tokens/{token}/deletions", {"reason": "phone sold"})
    await one.shows(token, "deleted")
    assert await one.refused(f"tokens/{token}/suspensions", {"reason": "x"}) == (409, "token_deleted")
    assert token in [t["id"] for t in await one.objects("token")]
    second = str((await one.control("tokens", card=mine))["id"])
    await one.shows(second, "active")
    await one.ask(f"cards/{mine}/cancellations", {"reason": "lost"})
    await one.shows(second, "deleted")


async def test_the_money_adds_up_nothing_is_parked_and_the_log_explains_it(one: Account) -> None:
    ledger = (await one.world.sandbox.get("/_sandbox/ledger")).json()
    assert ledger["balanced"] is True
    assert await one.world.drive.everything(f"/v1/events?account={one.id}&status=parked") == []
    assert await one.world.drive.everything(f"/v1/commands?account={one.id}&status=parked") == []
    rebuilt = await one.world.api.post(f"{one.path}/rebuilds", json={"reason": "test", "dry_run": True})
    assert rebuilt.json()["equal"] is True, rebuilt.text
