"""Financial addresses in both shapes, and the test helper that lets money arrive at one."""

from app.sandbox import incoming, listing
from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.errors import invalid, refused
from app.sandbox.vocabulary import has_new_addresses
from app.sandbox.world import World

KIND = "v2.money_management.financial_address"
SLOW = "cad"
"""An address in this currency stays pending until ``POST /_sandbox/addresses/{id}`` says how it ends."""
FA = "v2.money_management.financial_account"
OLD_TYPES = {
    "us_bank_account": "usd",
    "gb_bank_account": "gbp",
    "sepa_bank_account": "eur",
    "ca_bank_account": "cad",
    "mx_bank_account": "mxn",
}
FORMATS = {"usd": "aba", "gbp": "sort_code", "eur": "iban", "cad": "cpa", "mxn": "clabe", "cop": "bre_b", "brl": "pix"}


def prepare(body: Json, version: str) -> Json:
    """An old-shape body in the new shape; the shape of the other version is refused."""
    kind = body.get("type")
    if has_new_addresses(version):
        if kind not in {None, "bank_account", "crypto_wallet"}:
            raise invalid(f"Invalid type: {kind}", param="type")
        return body
    if "bank_account" in body or "crypto_wallet" in body or kind == "bank_account":
        raise invalid("Received unknown parameter: bank_account", code="parameter_unknown", param="type")
    body = dict(body)
    sepa, crypto = body.pop("sepa_bank_account", None), body.pop("crypto_properties", None)
    if kind in OLD_TYPES:
        bank: Json = {"currency": OLD_TYPES[kind]}
        if sepa and "country" in sepa:
            bank["country"] = sepa["country"]
        return {**body, "type": "bank_account", "bank_account": bank}
    if kind == "crypto_wallet":
        return {**body, "crypto_wallet": {"network": (crypto or {}).get("network", "polygon")}}
    raise invalid(f"Invalid type: {kind}", param="type")


def create(world: World, call: Call) -> Answer:
    """A pending address that becomes active by itself."""
    body = call.params
    fa = world.find(FA, body["financial_account"], call.account)
    if fa.data["status"] != "open":
        raise refused("financial_account_not_in_open_status", "The financial account is not open.")
    data: Json = {
        "account": call.account,
        "type": body["type"],
        "status": "pending",
        "financial_account": fa.id,
        "bank_account": None,
        "crypto_wallet": None,
    }
    if body["type"] == "bank_account":
        bank = body.get("bank_account") or {}
        if "currency" not in bank:
            raise invalid("Missing required param: bank_account.currency.", code="parameter_missing")
        currency = bank["currency"]
        data["settlement_currency"] = body.get("settlement_currency", currency)
        data["bank_account"] = _bank(
            world, currency, bank.get("country") or {"usd": "US", "mxn": "MX"}.get(currency, "IE")
        )
    else:
        network = (body.get("crypto_wallet") or {}).get("network", "polygon")
        number = world.ids.new("")
        data["settlement_currency"] = body.get("settlement_currency", "usdc")
        data["crypto_wallet"] = {
            "address": "0x" + number.encode().hex()[-40:].rjust(40, "0"),
            "memo": None,
            "network": network,
            "supported_network_details": [],
        }
    address = world.add(KIND, call.account, data)
    if data["settlement_currency"] != SLOW:
        world.later(_activate, world, address)
    return Answer(address)


def _bank(world: World, currency: str, country: str) -> Json:
    number = world.ids.new("")[-8:].rjust(12, "0")
    form = FORMATS.get(currency, "nip")
    details: Json = {
        "account_number": number,
        "last4": number[-4:],
        "bank_name": "Sandbox Bank",
        "bic": None,
        "account_holder_name": "Sandbox Inc",
        "account_holder_address": None,
    }
    if form == "aba":
        details["routing_number"] = "110000000"
    return {"type": form, "currency": currency, "country": country, form: details}


def _activate(world: World, address: Record) -> None:
    if address.data["status"] == "pending":
        address.data["status"] = "active"
        world.thin(".activated", address)


def retrieve(world: World, call: Call) -> Answer:
    """One address of the caller."""
    return Answer(world.find(KIND, call.ids[0], call.account))


def everything(world: World, call: Call) -> Answer:
    """The caller's addresses."""
    fa = call.params.get("financial_account")
    return listing.v2(
        call,
        world.all(KIND, call.account),
        lambda r: fa is None or r.data["financial_account"] == fa,
        lambda r: shown_address(r, call),
    )


def shown_address(record: Record, call: Call) -> Json:
    """In the shape of the caller's version; the old one hides the number without its ``include``."""
    data = record.data
    if has_new_addresses(call.version):
        return data
    out = {key: data[key] for key in ("id", "object", "status", "financial_account", "settlement_currency", "created")}
    out["livemode"] = False
    if data["crypto_wallet"]:
        wallet = {key: data["crypto_wallet"][key] for key in ("address", "memo", "network")}
        return {**out, "currency": "usdc", "credentials": {"type": "crypto_wallet", "crypto_wallet": wallet}}
    bank = data["bank_account"]
    kind = next((k for k, c in OLD_TYPES.items() if c == bank["currency"]), "us_bank_account")
    numbers = dict(bank[bank["type"]])
    hidden = "iban" if kind == "sepa_bank_account" else "account_number"
    number = numbers.pop("account_number")
    shown = f"credentials.{kind}.{hidden}" in (call.params.get("include") or [])
    numbers[hidden] = number if shown else None
    numbers["swift_code"] = numbers.pop("bic")
    return {**out, "currency": bank["currency"], "credentials": {"type": kind, kind: numbers}}


def credit(world: World, call: Call) -> Answer:
    """Test helper: accepted now, the received credit appears a step later."""
    address = world.find(KIND, call.ids[0], call.account)
    if address.data["status"] != "active":
        raise refused("financial_address_not_active", "The financial address is not active.")
    money = call.params["amount"]
    world.later(_arrive, world, address, money, call.params["network"])
    return Answer(body={"object": "financial_address_credit_simulation", "status": "accepted", "livemode": False})


def _arrive(world: World, address: Record, money: Json, network: str) -> None:
    fa = world.records[address.data["financial_account"]]
    incoming.bank_credit(world, fa, money["value"], money["currency"], address.id, network)


def debit(world: World, call: Call) -> Answer:
    """Test helper: somebody pulls money by the account number; a pull that finds too little fails."""
    address = world.find(KIND, call.ids[0], call.account)
    if address.data["status"] != "active":
        raise refused("financial_address_not_active", "The financial address is not active.")
    world.later(incoming.bank_debit, world, address, call.params["amount"], call.params.get("network", "ach"))
    return Answer(body={"object": "financial_address_debit_simulation", "status": "accepted", "livemode": False})


def microdeposits(world: World, call: Call) -> Answer:
    """Test helper: two small credits, as a bank sends them to prove that the number is right."""
    address = world.find(KIND, call.ids[0], call.account)
    if address.data["status"] != "active":
        raise refused("financial_address_not_active", "The financial address is not active.")
    amounts = [{"value": value, "currency": address.data["bank_account"]["currency"]} for value in (32, 45)]
    for money in amounts:
        world.later(_arrive, world, address, money, "ach")
    kind = "financial_address_generated_microdeposits"
    return Answer(body={"object": kind, "amounts": amounts, "status": "accepted", "livemode": False})
