"""Spending, over HTTP against the sandbox: the life of authorizations, captures, refunds and disputes, and their links."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from app.demo.fleet import Member
from app.store import embedded
from tests.scenarios.asking import Account, Row, until
from tests.scenarios.conftest import World, shared

NEVER_CAME: dict[str, Any] = {
    "reason": "not_received",
    "not_received": {"explanation": "It never came.", "product_type": "merchandise", "expected_at": 1_790_000_000},
}


CAP = 20_000
PROGRAMME = f"[authorization]\nper_authorization = {CAP}\npartial = true\n[authorization.velocity]\ncount_max = 200\n"


@pytest_asyncio.fixture(scope="module")
async def fleet_world(
    postgres: embedded.Embedded, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A fleet under a programme that approves purchases in part."""
    folder = tmp_path_factory.mktemp("spend")
    path = folder / "programme.toml"
    path.write_text(PROGRAMME, encoding="utf-8")
    async with shared(postgres, template, folder, {"CARDRAIL_PROGRAMME": str(path)}) as world:
        yield world


@pytest_asyncio.fixture(scope="module")
async def one(fleet_world: World) -> AsyncIterator[Account]:
    """A live account with plenty of money, whose purchases we are asked about."""
    member = Member("spend-001", "MX", "", "live")
    endpoint = {"url": f"{fleet_world.parts.url}/webhooks/stripe/authorizations", "secret": fleet_world.parts.secret}
    (await fleet_world.sandbox.put("/_sandbox/authorization_endpoint", json=endpoint)).raise_for_status()
    await fleet_world.enroll(member)
    account = Account(fleet_world, str(member.account))
    funded = await account.ask("fundings", {"amount": {"value": 500_000, "currency": "usd"}})
    await account.shows(funded["object_id"], "posted")
    await until(lambda: fleet_world.get(account.path), lambda a: a["balance"]["available"]["value"] > 400_000, "funds")
    yield account


async def hold(one: Account, amount: int, **more: Any) -> Row:
    """An approved authorization that nobody has captured yet."""
    while True:
        bought = await one.control("purchases", account=one.id, amount=amount, capture=False, **more)
        if bought["reason"] != "webhook_timeout":  # a busy machine: the merchant tries again
            break
    assert bought["approved"], bought
    return dict(bought["authorization"])


async def balance(one: Account, part: str = "available") -> int:
    """What Stripe says the account has."""
    headers = {
        "Stripe-Context": one.id,
        "Authorization": "Bearer sk_test_sandbox",
        "Stripe-Version": "2026-10-14.preview",
    }
    account = await one.world.get(one.path)
    path = f"/v2/money_management/financial_accounts/{account['financial_account']['id']}"
    answer = await one.world.sandbox.get(path, headers=headers)
    return int(answer.json()["balance"][part].get("usdc", {"value": 0})["value"])


async def links(one: Account, object_id: str, kinds: set[str]) -> dict[str, list[str]]:
    """The ids linked to an object by kind, once these kinds are there."""

    def complete(row: Row) -> bool:
        return kinds <= {link["kind"] for link in row.get("links", ())}

    row = await one.shows(object_id, complete)
    found: dict[str, list[str]] = {}
    for link in row["links"]:
        found.setdefault(link["kind"], []).append(link["id"])
    return found


async def debit_of(one: Account, authorization: str, state: str) -> Row:
    """The received debit of an authorization, once it is in this state."""
    (debit, *_) = (await links(one, authorization, {"received_debit"}))["received_debit"]
    return await one.shows(debit, state)


async def test_an_increment_and_two_captures(one: Account) -> None:
    before = await balance(one)
    made = await hold(one, 1_000)
    held = await debit_of(one, made["id"], "pending")
    assert (held["amount"]["value"], held["type"]) == (1_000, "card_spend")
    await one.helper(f"authorizations/{made['id']}/increment", increment_amount=500)
    grown = await one.shows(made["id"], lambda a: a["amount"] == 1_500)
    assert [h["amount"] for h in grown["request_history"]] == [1_000, 500]
    assert await balance(one) == before - 1_500
    await one.helper(f"authorizations/{made['id']}/capture", capture_amount=600, close_authorization="false")
    await one.shows(made["id"], lambda a: a["state"] == "pending" and len(a["transactions"]) == 1)
    await one.helper(f"authorizations/{made['id']}/capture", capture_amount=700)
    closed = await one.shows(made["id"], lambda a: a["state"] == "closed" and len(a["transactions"]) == 2)
    debit = await debit_of(one, made["id"], "succeeded")
    assert debit["amount"]["value"] == 1_300
    assert sorted(debit["transactions"]) == sorted(closed["transactions"])
    assert await balance(one) == before - 1_300
    decided = await links(one, made["id"], {"decision"})
    assert len(decided["decision"]) == 2


async def test_a_purchase_is_approved_in_part_where_the_merchant_takes_a_part(one: Account) -> None:
    before = await balance(one)
    whole = await one.control("purchases", account=one.id, amount=CAP + 5_000, capture=False)
    assert (whole["approved"], whole["reason"]) == (False, "webhook_declined")
    made = await hold(one, CAP + 5_000, is_amount_controllable=True)
    held = await debit_of(one, made["id"], "pending")
    assert (made["amount"], held["amount"]["value"]) == (CAP, CAP)
    decided = (await one.world.get(f"/v1/authorizations/{made['id']}"))["decisions"]
    assert [(d["reason"], d["amount"]["value"]) for d in decided] == [("approved_partial", CAP)]
    await one.helper(f"authorizations/{made['id']}/capture", capture_amount=CAP - 500)
    await one.shows(made["id"], "closed")
    assert (await debit_of(one, made["id"], "succeeded"))["amount"]["value"] == CAP - 500
    assert await balance(one) == before - CAP + 500


async def test_a_partial_and_a_whole_reversal(one: Account) -> None:
    before = await balance(one)
    made = await hold(one, 800)
    await one.helper(f"authorizations/{made['id']}/reverse", reverse_amount=300)
    await one.shows(made["id"], lambda a: a["amount"] == 500 and a["state"] == "pending")
    await one.helper(f"authorizations/{made['id']}/reverse")
    await one.shows(made["id"], "reversed")
    await debit_of(one, made["id"], "canceled")
    assert await balance(one) == before


async def test_an_authorization_expires_and_its_money_comes_back(one: Account) -> None:
    before = await balance(one)
    made = await hold(one, 900)
    await one.helper(f"authorizations/{made['id']}/expire")
    await one.shows(made["id"], "expired")
    await debit_of(one, made["id"], "canceled")
    assert await balance(one) == before


async def test_a_pump_tells_its_final_amount(one: Account) -> None:
    made = await hold(one, 10_000)
    await one.helper(f"authorizations/{made['id']}/finalize_amount", final_amount=4_321)
    await one.shows(made["id"], lambda a: a["amount"] == 4_321)
    await one.helper(f"authorizations/{made['id']}/capture")
    await one.shows(made["id"], "closed")
    assert (await debit_of(one, made["id"], "succeeded"))["amount"]["value"] == 4_321


async def test_a_capture_beyond_the_hold_and_one_without_any(one: Account) -> None:
    before = await balance(one)
    made = await hold(one, 100)
    await one.helper(f"authorizations/{made['id']}/capture", capture_amount=150)
    assert (await debit_of(one, made["id"], "succeeded"))["amount"]["value"] == 150
    (card, *_) = await one.objects("card")
    forced = await one.helper("transactions/create_force_capture", card=card["id"], amount=250)
    together = await links(one, forced["id"], {"card", "cardholder", "received_debit", "transaction"})
    assert together["card"] == [card["id"]]
    assert "authorization" not in together
    assert await balance(one) == before - 400


async def test_a_refund_belongs_to_its_purchase_and_an_unlinked_one_to_the_card(one: Account) -> None:
    before = await balance(one)
    made = await hold(one, 2_000)
    await one.helper(f"authorizations/{made['id']}/capture")
    closed = await one.shows(made["id"], lambda a: a["transactions"])
    (capture,) = closed["transactions"]
    await one.helper(f"transactions/{capture}/refund", refund_amount=500)
    whole = await links(one, made["id"], {"received_credit", "received_debit", "issuing_transaction", "decision"})
    assert len(whole["issuing_transaction"]) == 2
    (credit,) = whole["received_credit"]
    back = await links(one, credit, {"authorization", "card", "issuing_transaction", "received_debit"})
    assert back["authorization"] == [made["id"]]
    assert (await one.look(credit))["type"] == "card_spend"
    alone = await one.helper("transactions/create_unlinked_refund", card=made["card"]["id"], amount=700)
    assert (await one.shows(alone["id"], "refund"))["amount"] == 700
    paid = await links(one, alone["id"], {"card", "received_credit"})
    assert paid["card"] == [made["card"]["id"]]
    assert await balance(one) == before - 2_000 + 500 + 700


async def test_everything_of_a_purchase_is_found_from_every_part_of_it(one: Account) -> None:
    account = await one.world.get(one.path)
    (card, *_) = account["cards"]
    token = str((await one.control("tokens", card=card))["id"])
    await one.shows(token, "active")
    made = await hold(one, 3_000, card=card, token=token)
    await one.helper(f"authorizations/{made['id']}/capture")
    kinds = {"card", "cardholder", "token", "decision", "issuing_transaction", "received_debit", "transaction"}
    whole = await links(one, made["id"], kinds)
    assert (whole["card"], whole["token"]) == ([card], [token])
    (spent,) = whole["issuing_transaction"]
    (debit,) = whole["received_debit"]
    for part in (spent, debit):
        assert (await links(one, part, {"authorization"}))["authorization"] == [made["id"]]
    for crossing in (card, token, account["cardholder"]):
        assert made["id"] in (await links(one, crossing, {"authorization"}))["authorization"]
    (ledger, *_) = whole["transaction"]
    assert debit in (await links(one, ledger, {"received_debit"}))["received_debit"]
    page = await one.world.get(f"{one.path}/objects?kind=authorization&linked_to={token}")
    assert [row["id"] for row in page["data"]] == [made["id"]]
    (link,) = [row for row in (await one.look(made["id"]))["links"] if row["kind"] == "decision"]
    assert link["state"] == "approved"
    assert (await one.world.api.get(link["href"])).is_success


async def captured(one: Account, amount: int) -> str:
    """A capture of this amount."""
    made = await hold(one, amount)
    await one.helper(f"authorizations/{made['id']}/capture")
    closed = await one.shows(made["id"], lambda a: a["transactions"])
    spent = str(closed["transactions"][0])
    await one.shows(spent, "capture")
    return spent


async def disputed(one: Account, amount: int, evidence: dict[str, Any] | None = None) -> Row:
    """A submitted dispute of a purchase, as the sandbox's network now has it."""
    spent = await captured(one, amount)
    made = await one.ask("disputes", {"transaction": spent, "evidence": evidence or NEVER_CAME})
    assert made["state"] == "settled", made
    dispute = await one.shows(made["object_id"], "unsubmitted")
    submitted = await one.ask(f"disputes/{dispute['id']}/submissions")
    assert submitted["state"] == "settled", submitted
    return await one.shows(dispute["id"], lambda d: d["state"] != "unsubmitted")


async def test_a_dispute_is_argued_submitted_once_and_won(one: Account) -> None:
    spent = await captured(one, 1_100)
    made = await one.ask("disputes", {"transaction": spent, "amount": 1_000, "evidence": {"reason": "other"}})
    dispute = await one.shows(made["object_id"], "unsubmitted")
    assert (dispute["amount"], dispute["transaction"], dispute["reason"]) == (1_000, spent, "other")
    await one.shows(spent, lambda t: t.get("dispute") == dispute["id"])
    assert await one.refused("disputes", {"transaction": spent}) == (409, "dispute_exists")
    argued = await one.ask(f"disputes/{dispute['id']}/evidence", NEVER_CAME, "PUT")
    assert argued["state"] == "settled", argued
    await one.shows(dispute["id"], lambda d: d["reason"] == "not_received")
    before = await balance(one)
    await one.ask(f"disputes/{dispute['id']}/submissions")
    await one.shows(dispute["id"], "submitted")
    assert await one.refused(f"disputes/{dispute['id']}/submissions", None) == (409, "dispute_submitted")
    await one.helper(f"disputes/{dispute['id']}/close", status="won")
    won = await one.shows(dispute["id"], lambda d: d["state"] == "won" and d.get("funds"))
    assert won["funds"] == "reinstated"
    assert await balance(one) == before + 1_000
    whole = await links(one, dispute["id"], {"authorization", "card", "issuing_transaction", "received_credit"})
    assert (await one.look(whole["received_credit"][0]))["dispute"] == dispute["id"]
    notes = [line["note"] for line in await one.journal() if line["object_id"] == dispute["id"] and line["note"]]
    assert notes == ["funds: reinstated"]


async def test_a_provisional_credit_is_taken_back_when_the_dispute_is_lost(one: Account) -> None:
    dispute = await disputed(one, 1_200)
    before = await balance(one)
    await one.helper(f"disputes/{dispute['id']}/provisional_credit")
    credited = await one.shows(dispute["id"], lambda d: d.get("funds") == "reinstated")
    assert credited["state"] == "submitted"
    assert await balance(one) == before + 1_200
    await one.helper(f"disputes/{dispute['id']}/close", status="lost")
    lost = await one.shows(dispute["id"], lambda d: d["state"] == "lost" and d["funds"] == "rescinded")
    assert lost["loss_reason"] == "other"
    assert await balance(one) == before
    assert (await links(one, dispute["id"], {"transaction"}))["transaction"]


async def test_the_network_settles_by_itself_and_an_unsubmitted_dispute_expires(one: Account) -> None:
    for word, state in (("winning_evidence", "won"), ("losing_evidence", "lost")):
        evidence = {"reason": "fraudulent", "fraudulent": {"explanation": word}}
        dispute = await disputed(one, 300, evidence)
        await one.shows(dispute["id"], state)
    spent = await captured(one, 400)
    made = await one.ask("disputes", {"transaction": spent})
    await one.shows(made["object_id"], "unsubmitted")
    await one.control(f"disputes/{made['object_id']}", status="expired")
    await one.shows(made["object_id"], "expired")
    late = await one.refused(f"disputes/{made['object_id']}/evidence", NEVER_CAME, "PUT")
    assert late == (409, "dispute_expired")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"amount": 10_000_000}, "amount"),
        ({"amount": 0}, "amount"),
        ({"evidence": {"reason": "boredom"}}, "evidence.reason"),
        ({"evidence": {"reason": "other", "fraudulent": {"explanation": "x"}}}, "evidence.fraudulent"),
        ({"evidence": {"reason": "fraudulent", "fraudulent": {"expected_at": 1}}}, "evidence.fraudulent"),
    ],
)
async def test_a_dispute_that_cannot_be_meant(one: Account, body: dict[str, Any], wrong: str) -> None:
    captures = [t for t in await one.objects("issuing_transaction") if t["state"] == "capture" and not t.get("dispute")]
    path = f"{one.path}/disputes"
    answer = await one.world.api.post(path, json={"transaction": captures[0]["id"], **body})
    assert (answer.status_code, [e["field"] for e in answer.json()["errors"]]) == (422, [wrong])


async def test_a_refund_cannot_be_disputed(one: Account) -> None:
    account = await one.world.get(one.path)
    refund = await one.helper("transactions/create_unlinked_refund", card=next(iter(account["cards"])), amount=50)
    await one.shows(refund["id"], "refund")
    assert await one.refused("disputes", {"transaction": refund["id"]}) == (422, "invalid")
    assert await one.refused("disputes", {"transaction": "ipi_nowhere"}) == (404, "not_found")


async def test_a_declined_purchase_leaves_a_decision_and_no_money(one: Account) -> None:
    before = await balance(one)
    (old, *_) = await one.objects("card")
    await one.ask(f"cards/{old['id']}/spending-controls", {"blocked_merchant_countries": ["FR"]}, "PUT")
    merchant = {"country": "FR", "category": "bakeries", "name": "PAIN"}
    bought = await one.control(
        "purchases", account=one.id, card=old["id"], amount=100, capture=False, merchant_data=merchant
    )
    assert (bought["approved"], bought["reason"]) == (False, "spending_controls")
    declined = await one.shows(bought["authorization"]["id"], "closed")
    assert declined["approved"] is False
    assert "received_debit" not in await links(one, declined["id"], {"card", "cardholder"})
    assert await balance(one) == before


async def test_the_account_shows_what_stripe_holds_and_the_log_explains_it(one: Account) -> None:
    there = await balance(one)
    await until(lambda: one.world.get(one.path), lambda a: a["balance"]["available"]["value"] == there, "balance")
    assert await one.world.drive.everything(f"/v1/events?account={one.id}&status=parked") == []
    rebuilt = await one.world.api.post(f"{one.path}/rebuilds", json={"reason": "test", "dry_run": True})
    assert rebuilt.json()["equal"] is True, rebuilt.text
    ledger = (await one.world.sandbox.get("/_sandbox/ledger")).json()
    assert ledger["balanced"] is True
