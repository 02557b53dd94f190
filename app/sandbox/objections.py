"""Why Stripe itself declines a purchase, before anybody is asked."""

from collections.abc import Callable
from datetime import UTC, datetime

from app.sandbox import capabilities
from app.sandbox.calls import Json, Record
from app.sandbox.world import World

KIND = "issuing.authorization"
CAP = 1_000_000
"""No authorization above 10,000 USD, whatever the card's own limits."""


DAYS = {"daily": 1, "weekly": 7, "monthly": 30, "yearly": 365, "all_time": 36500}


def objection(world: World, card: Record, wanted: int, merchant: Json, *, present: bool = False) -> str | None:
    """Why Stripe itself declines, before asking anybody; None when nothing objects."""
    account = world.records.get(card.account)
    if account is not None and (
        account.data["closed"] or capabilities.status(account, capabilities.PREPAID) != "active"
    ):
        return "account_disabled"
    if card.data["status"] != "active":
        return f"card_{card.data['status']}"
    holder = world.records[card.data["cardholder"]["id"]]
    if holder.data["status"] != "active":
        return f"cardholder_{holder.data['status']}"
    if holder.data["requirements"]["disabled_reason"]:
        return "cardholder_verification_required"
    if wanted > CAP or any(
        _over_controls(controls, spent, wanted, merchant, present=present)
        for controls, spent in (
            (card.data["spending_controls"], _approved(world, card.account, lambda r: r.hidden["card"] is card)),
            (holder.data["spending_controls"] or {}, _approved(world, card.account, _of(holder))),
        )
    ):
        return "spending_controls"
    fa: Record = card.hidden["fa"]
    if fa.data["status"] != "open" or world.ledger.available(fa.id, currency_of(fa)) < wanted:
        return "insufficient_funds"
    return None


def currency_of(fa: Record) -> str:
    """What card spend is taken in: usdc where held, 1:1 to usd."""
    held: list[str] = fa.data["storage"]["holds_currencies"]
    return "usdc" if "usdc" in held else held[0]


def _of(holder: Record) -> Callable[[Record], bool]:
    return lambda r: bool(r.data["cardholder"] == holder.id)


def _approved(world: World, account: str, ours: Callable[[Record], bool]) -> list[Record]:
    return [r for r in world.all(KIND, account) if r.data["approved"] and ours(r)]


def _over_controls(controls: Json, spent: list[Record], wanted: int, merchant: Json, *, present: bool) -> bool:
    asked = {
        "categories": merchant["category"],
        "merchant_countries": merchant["country"],
        "card_presences": "present" if present else "not_present",
    }
    for what, value in asked.items():
        if value in (controls.get(f"blocked_{what}") or []):
            return True
        if controls.get(f"allowed_{what}") and value not in controls[f"allowed_{what}"]:
            return True
    return any(_over(limit, spent, wanted, merchant) for limit in controls.get("spending_limits") or [])


def _over(limit: Json, spent: list[Record], wanted: int, merchant: Json) -> bool:
    if limit["categories"] and merchant["category"] not in limit["categories"]:
        return False
    already = 0
    if limit["interval"] != "per_authorization":
        since = datetime.now(UTC).timestamp() - DAYS[limit["interval"]] * 86400
        already = sum(r.data["amount"] for r in spent if r.data["created"] >= since)
    return bool(already + wanted > limit["amount"])
