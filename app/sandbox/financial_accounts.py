"""Financial accounts: pending, then open by itself, closed only when empty."""

from app.sandbox import books, capabilities, listing, scenarios
from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.errors import refused
from app.sandbox.world import World

KIND = "v2.money_management.financial_account"
PER_ACCOUNT_MAX = 10


def seed_platform(world: World) -> None:
    """The platform's own account, its open financial account and its opening balance."""
    settings = world.settings
    if settings.platform_account in world.records:
        return
    fa = world.add(KIND, world.platform, _fresh(["usd", "usdc"], "US", {}), ident=settings.platform_financial_account)
    fa.data["status"] = "open"
    if settings.opening_usd:
        books.opening(world, fa, settings.opening_usd)


def _fresh(currencies: list[str], country: str, body: Json) -> Json:
    return {
        "status": "pending",
        "type": body.get("type", "storage"),
        "country": country,
        "display_name": body.get("display_name"),
        "metadata": body.get("metadata") or {},
        "storage": {
            "holds_currencies": currencies,
            "funds_usage_type": (body.get("storage") or {}).get("funds_usage_type", "business"),
        },
        "status_details": None,
    }


def create(world: World, call: Call) -> Answer:
    """A pending account that opens by itself."""
    body = call.params
    currencies = list((body.get("storage") or {}).get("holds_currencies") or [])
    account = world.records.get(call.account)
    if call.account != world.platform:
        for currency in currencies:
            need_storage(account, currency)
    if len(world.all(KIND, call.account)) >= PER_ACCOUNT_MAX:
        raise refused("financial_account_open_limit", "Too many financial accounts.")
    country = str(account.data["identity"].get("country", "us")) if account else "us"
    fa = world.add(KIND, call.account, _fresh(currencies, country.upper(), body))
    world.thin(".created", fa)
    slow = scenarios.tagged(account, "fa_slow")
    delay_s = world.settings.step_delay_s * scenarios.FA_SLOW_STEPS if slow else None
    world.later(_open, world, fa, delay_s=delay_s)
    return Answer(fa)


def need_storage(account: Record | None, currency: str) -> None:
    """Raise unless the account may hold this currency."""
    found = {
        capabilities.status(account, f"money_manager.business_storage.{way}.{currency}") if account else None
        for way in ("inbound", "outbound")
    }
    if None in found or account is None or account.data["closed"]:
        message = f"The account has not requested to hold {currency}."
        raise refused("storer_capability_missing", message, kind="feature_not_enabled")
    if found != {"active"}:
        message = f"The capability to hold {currency} is not active."
        raise refused("storer_capability_not_active", message, kind="feature_not_enabled")


def _open(world: World, fa: Record) -> None:
    if fa.data["status"] == "pending":
        fa.data["status"] = "open"
        world.thin(".updated", fa, changes={"before": {"status": "pending"}, "after": {"status": "open"}})


def retrieve(world: World, call: Call) -> Answer:
    """One account of the caller."""
    return Answer(world.find(KIND, call.ids[0], call.account))


def update(world: World, call: Call) -> Answer:
    """Change name and metadata."""
    fa = world.find(KIND, call.ids[0], call.account)
    fa.data.update({key: call.params[key] for key in ("display_name", "metadata") if key in call.params})
    world.thin(".updated", fa)
    return Answer(fa)


def everything(world: World, call: Call) -> Answer:
    """The caller's accounts, without closed ones by default."""
    statuses = listing.wanted(call.params, "statuses") or {"pending", "open"}
    types = listing.wanted(call.params, "types")
    return listing.v2(
        call,
        world.all(KIND, call.account),
        lambda r: r.data["status"] in statuses and (types is None or r.data["type"] in types),
        lambda r: shown_financial_account(world, r),
    )


def shown_financial_account(world: World, record: Record) -> Json:
    """With the balance of this moment."""
    currencies = record.data["storage"]["holds_currencies"]
    return {**record.data, "balance": world.ledger.balance(record.id, currencies)}


def close(world: World, call: Call) -> Answer:
    """Close an open and empty account."""
    fa = world.find(KIND, call.ids[0], call.account)
    if fa.data["status"] != "open":
        raise refused(
            "financial_account_not_open", "The financial account is not open.", kind="financial_account_not_open"
        )
    if any(v for (name, _), v in world.ledger.balances.items() if name.startswith(f"fa:{fa.id}:")):
        raise refused("non_zero_balance", "The financial account still holds money.", kind="non_zero_balance")
    fa.data["status"] = "closed"
    fa.data["status_details"] = {"closed": {"reason": "closed_by_platform", "forwarding_settings": None}}
    world.thin(".updated", fa)
    return Answer(fa)


def need_open(fa: Record) -> None:
    """Raise unless money may move on this financial account."""
    if fa.data["status"] == "pending":
        raise refused("pending_financial_account", "The financial account is still pending.")
    if fa.data["status"] != "open":
        message = "The financial account is closed."
        raise refused("outbound_flow_from_closed_financial_account_unsupported", message, kind="feature_not_enabled")
