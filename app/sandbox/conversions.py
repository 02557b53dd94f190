"""Currency conversions on one financial account, and the rates at which money changes its currency anywhere here.

Rates are fixed, so tests can know them: one US dollar is one USDC, and a USDC buys the listed amount of other money.
"""

from decimal import ROUND_DOWN, Decimal

from app.sandbox import books
from app.sandbox.calls import Answer, Call, Json
from app.sandbox.errors import invalid, refused
from app.sandbox.financial_accounts import KIND as FA
from app.sandbox.financial_accounts import need_open
from app.sandbox.world import World

KIND = "v2.money_management.currency_conversion"
POOL = "world:conversion"
RATES = {"usd": Decimal(1), "usdc": Decimal(1), "mxn": Decimal("18.25"), "eur": Decimal("0.92")}
"""How much of it one US dollar buys."""


def rate(source: str, target: str) -> Decimal:
    """How much of ``target`` one unit of ``source`` buys."""
    if source not in RATES or target not in RATES:
        raise refused("unsupported_currency", f"{source} cannot become {target}.")
    return RATES[target] / RATES[source]


def converted(value: int, source: str, target: str) -> int:
    """Minor units that arrive; what is below one stays with the house."""
    return int((Decimal(value) * rate(source, target)).to_integral_value(ROUND_DOWN))


def create(world: World, call: Call) -> Answer:
    """Turn money of one currency that the account holds into another that it holds."""
    body = call.params
    fa = world.find(FA, body["financial_account"], call.account)
    need_open(fa)
    money, wanted = (body.get("from") or {}).get("amount"), body["to"].get("currency")
    if not isinstance(money, dict) or type(money.get("value")) is not int or money["value"] <= 0:
        raise invalid("from.amount.value must be a positive integer", param="from.amount")
    source = str(money["currency"])
    holds = fa.data["storage"]["holds_currencies"]
    if wanted not in holds or source not in holds or wanted == source:
        raise refused("unsupported_currency", f"The financial account does not hold {wanted}.")
    books.need(world, fa.id, money["value"], source)
    got = converted(money["value"], source, wanted)
    data: Json = {
        "financial_account": fa.id,
        "from": {"amount": books.amount(money["value"], source)},
        "to": {"amount": books.amount(got, wanted)},
        "exchange_rate": str(rate(source, wanted)),
    }
    made = world.add(KIND, call.account, data)
    for value, currency in ((-money["value"], source), (got, wanted)):
        flow = ("currency_conversion", made.id)
        transaction = books.open_transaction(world, call.account, fa.id, flow, books.amount(value, currency))
        transaction.data["flow"]["currency_conversion"] = None  # always null for now, says Stripe
        books.move(world, transaction, POOL, available=value)
    return Answer(made)
