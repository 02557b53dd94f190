"""No name, birth date, address, contact or bank number stands in clear in the database, the logs or the metrics."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from app.store import db, embedded, keys
from app.stripe import signature
from tests.conftest import every_row
from tests.scenarios.asking import Account, until
from tests.scenarios.conftest import World, shared
from tests.scenarios.waiting import PLATFORM

PERSON = {
    "reference": "customer-4711",
    "contact_email": "zenobia.quux@mail.example.com",
    "display_name": "Zenobia Quux Atelier",
    "country": "MX",
    "entity_type": "individual",
    "cardholder": {
        "type": "individual",
        "name": "Zenobia Quux",
        "email": "zenobia.home@mail.example.com",
        "phone_number": "+525598761234",
        "individual": {"first_name": "Zenobia", "last_name": "Quux", "dob": {"day": 17, "month": 11, "year": 1937}},
        "billing": {
            "address": {
                "line1": "Callejon Violeta 93",
                "city": "Xochimilco",
                "state": "CMX",
                "postal_code": "16098",
                "country": "MX",
            }
        },
        "user_terms_acceptance": {"date": 1790000000, "ip": "192.0.2.77"},
    },
}
SHIPPING = {
    "name": "Zenobia Quux",
    "address": {
        "line1": "Travesia Indigo 12",
        "city": "Tlalpan",
        "state": "CMX",
        "postal_code": "14098",
        "country": "MX",
    },
    "service": "express",
    "phone_number": "+525598760000",
}
CLABE = "032180000118359719"
SECRETS = (
    "zenobia",
    "quux",
    "example.com",
    "5598761234",
    "5598760000",
    '"dob"',
    '"year": 1937',
    '"year":1937',
    "callejon",
    "violeta",
    "xochimilco",
    "indigo",
    "tlalpan",
    "192.0.2.77",
    CLABE,
    "032180000118359710",
)


SETTINGS = {"CARDRAIL_RECEIVERS": "any", "CARDRAIL_LOG_LEVEL": "debug"}


@pytest_asyncio.fixture(scope="module")
async def hearing(
    postgres: embedded.Embedded, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """A fleet that may send notices to anyone, and says all it can say."""
    async with shared(postgres, template, tmp_path_factory.mktemp("pii"), SETTINGS) as one:
        yield one


async def live(world: World, reference: str = "customer-4711") -> Account:
    body = {**PERSON, "reference": reference}
    answer = await world.api.post("/v1/enrollments", json=body, headers={"Idempotency-Key": reference})
    assert answer.status_code == 202, answer.text
    made = await until(lambda: world.get(answer.json()["href"]), lambda e: e["account"], "account")
    account = Account(world, made["account"])
    await until(lambda: world.get(account.path), lambda a: a["state"] == "live", "live", seconds=60)
    return account


def in_clear(text: str) -> list[str]:
    lowered = text.lower().replace('""', '"').replace('\\"', '"')
    return [secret for secret in SECRETS if secret in lowered]


async def test_personal_data_is_nowhere_in_clear(hearing: World) -> None:
    world = hearing
    account = await live(world)
    address = "0x52908400098527886E0F7030069857D2E4169EE7"
    assert (await account.ask("wallets", {"network": "polygon", "address": address}))["state"] == "settled"
    bank = {"country": "MX", "currency": "mxn", "account_number": CLABE}
    assert (await account.ask("bank-accounts", bank))["state"] == "settled"
    assert (await account.ask("cards", {"type": "physical", "shipping": SHIPPING}))["state"] == "settled"
    spent = {"account": account.id, "amount": 1_250, "currency": "usd"}
    assert (await world.sandbox.post("/_sandbox/purchases", json=spent)).json()["approved"]
    await until(lambda: world.get("/v1/events?status=pending"), lambda page: not page["data"], "all applied")

    shown = await world.get(f"/v1/events?account={account.id}&type=create_card.requested")
    asked = await world.get(f"/v1/events/{shown['data'][0]['id']}")
    assert in_clear(str(asked["payload"])) == ["zenobia", "quux", "5598760000", "indigo", "tlalpan"]
    tables = await every_row(world.dsn)
    assert account.id in tables["events"]
    assert {name: found for name, text in tables.items() if (found := in_clear(text))} == {}
    assert in_clear((world.folder / "demo.log").read_text(errors="replace")) == []
    async with httpx.AsyncClient() as anyone:
        assert in_clear((await anyone.get(f"{world.parts.url}/metrics")).text) == []


COMPANY = {
    "type": "company",
    "name": "Quux Talleres",
    "email": "talleres@mail.example.com",
    "company": {"tax_id": "QUUX930211AB1"},
    "billing": PERSON["cardholder"]["billing"],  # type: ignore[index]  # a literal of this file
}
NEVER_CAME = {
    "reason": "not_received",
    "not_received": {"explanation": "Zenobia Quux of Callejon Violeta 93 never got it.", "product_type": "merchandise"},
}
WRONG_CLABE = "032180000118359710"


async def elsewhere(world: World, account: Account) -> None:
    """What other people write about the account at Stripe: names in metadata, descriptions and display names."""
    headers = {"Authorization": "Bearer sk_test_sandbox", "Stripe-Version": "2026-10-14.preview"}
    own = await world.get(account.path)
    holder, fa = own["cardholder"], own["financial_account"]["id"]
    await account.stripe(f"/v1/issuing/cardholders/{holder}", {"metadata[customer]": "Zenobia Quux"})
    await account.stripe(
        f"/v1/issuing/cards/{next(iter(own['cards']))}", {"metadata[owner]": "zenobia.home@mail.example.com"}
    )
    path = f"/v2/money_management/financial_accounts/{fa}"
    named = {"display_name": "Zenobia Quux", "metadata": {"phone": "+525598761234"}}
    (await world.sandbox.post(path, json=named, headers={**headers, "Stripe-Context": account.id})).raise_for_status()
    pay = {
        "from": {"financial_account": "fa_test_platform", "currency": "usd"},
        "to": {"recipient": account.id, "payout_method": fa, "currency": "usdc"},
        "amount": {"value": 900, "currency": "usd"},
        "description": "For Zenobia Quux",
        "metadata": {"to": "Callejon Violeta 93"},
    }
    paid = await world.sandbox.post("/v2/money_management/outbound_payments", json=pay, headers=headers)
    await account.shows(paid.json()["id"], "posted")
    path = f"/v2/core/accounts/{account.id}/persons"
    person = {"given_name": "Zenobia", "surname": "Quux", "email": "zenobia.home@mail.example.com"}
    (await world.sandbox.post(path, json=person, headers=headers)).raise_for_status()


async def refused(world: World, account: Account) -> str:
    """What is refused here: all that was answered."""
    bad = [
        (f"{account.path}/bank-accounts", {"country": "MX", "currency": "mxn", "account_number": WRONG_CLABE}),
        (f"{account.path}/cards", {"type": "physical", "shipping": {**SHIPPING, "service": "Zenobia Quux"}}),
        ("/v1/enrollments", {**PERSON, "reference": "x", "country": "Zenobia Quux"}),
        ("/v1/enrollments", {**PERSON, "reference": "x", "contact_email": "zenobia quux"}),
    ]
    answers = [await world.api.post(path, json=body) for path, body in bad]
    assert {answer.status_code for answer in answers} == {422}
    event = {"id": "evt_odd", "object": "event", "account": account.id, "created": 1_790_000_000, "livemode": False}
    odd = [
        {**event, "id": "evt_odd1", "type": "issuing_cardholder.created", "data": {"object": {"name": "Zenobia Quux"}}},
        {**event, "id": "evt_odd2", "type": "issuing_cardholder.praised", "data": {"object": PERSON}},
        {**event, "id": "evt_odd3", "type": "issuing_card.updated", "data": {"object": {"id": 7, **SHIPPING}}},
    ]
    for body in odd:
        content = json.dumps(body).encode()
        for secret in (world.parts.secret, "whsec_wrong"):
            signed = signature.sign(content, secret.encode(), int(time.time())).decode()
            answers.append(
                await world.api.post("/webhooks/stripe", content=content, headers={"Stripe-Signature": signed})
            )
    return "\n".join(answer.text for answer in answers)


async def looked_at(world: World, account: Account) -> str:
    """All that a key which may only read is shown."""
    conn = await db.connect(world.dsn)
    try:
        _, key = await keys.create(conn, name="reader", scope="read")
    finally:
        await conn.close()
    said = []
    async with httpx.AsyncClient(
        base_url=world.parts.url, headers={"Authorization": f"Bearer {key}"}, timeout=10
    ) as reader:
        paths = [
            account.path,
            *(f"{account.path}/{p}" for p in ("objects?limit=200", "journal?limit=200", "explanation")),
        ]
        paths += ["/v1/accounts", "/v1/enrollments", "/v1/parked", "/v1/platform", "/v1/doctor", "/v1/authorizations"]
        for what in ("events", "commands"):
            rows = await world.drive.everything(f"/v1/{what}?account={account.id}")
            paths += [f"/v1/{what}?account={account.id}&limit=200", *(f"/v1/{what}/{row['id']}" for row in rows)]
        for path in paths:
            answer = await reader.get(path)
            assert answer.status_code in (200, 403), (path, answer.text)
            said.append(answer.text)
    return "\n".join(said)


async def command_line(world: World, account: Account) -> str:
    """What the command line says, to whoever looks over the shoulder."""
    env = {
        **os.environ,
        "DATABASE_URL": world.dsn,
        "STRIPE_API_KEY": "sk_test_sandbox",
        "PLATFORM_ACCOUNT_ID": PLATFORM,
    }
    env["STRIPE_API_BASE"] = world.parts.sandbox_url
    asked = (
        "doctor",
        "parked list",
        "actions list",
        "events list",
        "commands list",
        f"accounts show {account.id}",
        f"accounts journal {account.id}",
    )

    async def run(words: str) -> str:
        started = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app", *words.split(), "--json",
            env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await started.communicate()
        assert started.returncode in (0, 1), said
        assert said.strip(), words
        return said.decode()

    return "\n".join(await asyncio.gather(*map(run, asked)))


async def test_what_others_write_and_what_goes_wrong_leaks_nothing(hearing: World) -> None:
    world = hearing
    account = await live(world, "customer-4712")
    hooks = {"url": f"{world.parts.sandbox_url}/hooks", "types": ["*"], "description": "all of it"}
    assert (await world.api.post("/v1/subscriptions", json=hooks)).is_success
    holder = await account.ask("cardholders", COMPANY)
    changed = {"phone_number": "+525598760000", "billing": {"address": SHIPPING["address"]}}
    assert (await account.ask(f"cardholders/{holder['object_id']}", changed, "PATCH"))["state"] == "settled"
    again = {"company": {"tax_id": "QUUX930211BAD"}}
    said = await account.ask(f"cardholders/{holder['object_id']}", again, "PATCH")
    assert (said["state"], "[redacted]" in said["error"]["message"]) == ("rejected", True), said
    named = await account.ask("cardholders", {**COMPANY, **again})
    assert (named["state"], in_clear(str(named))) == ("rejected", [])
    await elsewhere(world, account)
    wallet = {"network": "polygon", "address": "0x52908400098527886E0F7030069857D2E4169EE7"}
    await account.ask("wallets", wallet)
    (method,) = await account.objects("payout_method")
    amount = {"value": 100, "currency": "usdc"}
    sent = {"payout_method": method["id"], "amount": amount, "currency": "usdc", "description": "Rent of Zenobia Quux"}
    await account.shows((await account.ask("transfers", sent))["object_id"], "posted")
    (card, *_) = (await world.get(account.path))["cards"]
    bought = await account.control("purchases", account=account.id, card=card, amount=400)
    spent = await until(lambda: account.objects("issuing_transaction"), bool, "capture")
    argued = await account.ask("disputes", {"transaction": spent[0]["id"], "evidence": NEVER_CAME})
    assert (bought["approved"], argued["state"]) == (True, "settled")
    answered = await refused(world, account)
    await until(lambda: world.get("/v1/events?status=pending"), lambda page: not page["data"], "all applied")
    assert (await world.get("/v1/parked"))["data"]
    assert in_clear(answered) == []
    assert in_clear(await looked_at(world, account)) == []
    assert in_clear(await command_line(world, account)) == []
    tables = await every_row(world.dsn)
    assert {name: found for name, text in tables.items() if (found := in_clear(text))} == {}
    assert in_clear((world.folder / "demo.log").read_text(errors="replace")) == []
