"""No name, birth date, address, contact or bank number stands in clear in the database, the logs or the metrics."""

import asyncpg
import httpx

from app.store import db
from tests.scenarios.asking import Account, until
from tests.scenarios.conftest import World

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
)


async def live(world: World) -> Account:
    answer = await world.api.post("/v1/enrollments", json=PERSON, headers={"Idempotency-Key": "once"})
    assert answer.status_code == 202, answer.text
    made = await until(lambda: world.get(answer.json()["href"]), lambda e: e["account"], "account")
    account = Account(world, made["account"])
    await until(lambda: world.get(account.path), lambda a: a["state"] == "live", "live", seconds=60)
    return account


async def everything(dsn: str) -> dict[str, str]:
    """Every row of every table as text, bytes as far as they are letters."""
    conn: asyncpg.Connection = await db.connect(dsn)
    try:
        await conn.execute("SET bytea_output = 'escape'")
        tables = await conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {
            row["tablename"]: str(await conn.fetchval(f"SELECT string_agg(t::text, chr(10)) FROM {row['tablename']} t"))
            for row in tables
        }
    finally:
        await conn.close()


def in_clear(text: str) -> list[str]:
    lowered = text.lower().replace('""', '"').replace('\\"', '"')
    return [secret for secret in SECRETS if secret in lowered]


async def test_personal_data_is_nowhere_in_clear(world: World) -> None:
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
    tables = await everything(world.dsn)
    assert account.id in tables["events"]
    assert {name: found for name, text in tables.items() if (found := in_clear(text))} == {}
    assert in_clear((world.folder / "demo.log").read_text(errors="replace")) == []
    async with httpx.AsyncClient() as anyone:
        assert in_clear((await anyone.get(f"{world.parts.url}/metrics")).text) == []
