"""Issuing cards funded from a v2 financial account, their shipping, and their tokens."""

from app.sandbox import capabilities
from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.errors import invalid, refused
from app.sandbox.world import World

KIND = "issuing.card"


def create(world: World, call: Call) -> Answer:
    """A card on an open financial account."""
    body = call.params
    fa_id = body.get("financial_account_v2")
    if not fa_id:
        message = "Missing required param: financial_account_v2."
        raise invalid(message, code="parameter_missing", param="financial_account_v2")
    fa = world.find("v2.money_management.financial_account", fa_id, call.account, "v1")
    if fa.data["status"] != "open":
        raise refused("pending_financial_account", f"The financial account {fa.id} is {fa.data['status']}.")
    account = world.records.get(call.account)
    if account is not None and account.data["closed"]:
        raise refused("account_closed", "This account is closed.", status=403)
    if account is not None and capabilities.status(account, capabilities.PREPAID) != "active":
        raise refused("capability_not_active", "commercial.lead.prepaid_card is not active.", status=403)
    if "cardholder" not in body:
        raise invalid("Missing required param: cardholder.", code="parameter_missing", param="cardholder")
    holder = world.find("issuing.cardholder", body["cardholder"], call.account, "v1")
    if body["currency"] != "usd":
        raise invalid("currency must be usd", param="currency")
    old = _replaced(world, call)
    number = f"400000{world.ids.new('')[-10:]:0>10}"
    card = world.add(KIND, call.account, _fresh(body, holder, number, fa), number=number, cvc="123", fa=fa)
    world.snapshot("created", card)
    if old is not None:
        old.data["replaced_by"] = card.id
        world.snapshot("updated", old, {"replaced_by": None})
    return Answer(card)


def _replaced(world: World, call: Call) -> Record | None:
    """The card that the new one stands in for: once only, and with a reason."""
    if "replacement_for" not in call.params:
        return None
    old = world.find(KIND, call.params["replacement_for"], call.account, "v1")
    if "replacement_reason" not in call.params:
        message = "Missing required param: replacement_reason."
        raise invalid(message, code="parameter_missing", param="replacement_reason")
    if old.data["replaced_by"]:
        raise refused("card_already_replaced", f"{old.id} was replaced by {old.data['replaced_by']}.")
    return old


def _shipping(given: Json | None) -> Json | None:
    if not given:
        return None
    if given.get("service", "standard") not in ("express", "priority"):
        raise invalid("shipping[service] must be express or priority", param="shipping[service]")
    signature = given.get("require_signature") == "true"
    blank: Json = dict.fromkeys(("carrier", "tracking_number", "tracking_url", "eta", "address_validation"))
    return {"status": "pending", "type": "individual", **blank, **given, "require_signature": signature}


def _fresh(body: Json, holder: Record, number: str, fa: Record) -> Json:
    reachable = bool(holder.data["email"] or holder.data["phone_number"])
    wallet = {"eligible": reachable, "ineligible_reason": None if reachable else "missing_cardholder_contact"}
    controls = controls_of(body.get("spending_controls") or {})
    shipping = body.get("shipping")
    if body["type"] == "physical" and not shipping:
        raise invalid("Missing required param: shipping.", code="parameter_missing", param="shipping")
    return {
        "type": body["type"],
        "status": body.get("status", "inactive"),
        "brand": "Visa",
        "currency": "usd",
        "last4": number[-4:],
        "exp_month": 9,
        "exp_year": 2031,
        "cardholder": dict(holder.data),
        "cancellation_reason": None,
        "replacement_for": body.get("replacement_for"),
        "replacement_reason": body.get("replacement_reason"),
        "replaced_by": None,
        "shipping": _shipping(shipping),
        "crypto_wallet": None,
        "financial_account": None,
        "financial_account_v2": fa.id,
        "spending_controls": {"spending_limits": [], "spending_limits_currency": "usd", **controls},
        "wallets": {"apple_pay": wallet, "google_pay": wallet, "primary_account_identifier": None},
        "latest_fraud_warning": None,
        "personalization_design": body.get("personalization_design"),
        "second_line": body.get("second_line"),
        "metadata": body.get("metadata") or {},
    }


def controls_of(given: Json) -> Json:
    """Spending controls with numbers as numbers; an allow list and a block list of one thing exclude each other."""
    out: Json = {key: value or [] for key, value in given.items()}
    for what in ("categories", "merchant_countries", "card_presences"):
        if given.get(f"allowed_{what}") and given.get(f"blocked_{what}"):
            raise invalid(f"allowed_{what} and blocked_{what} exclude each other", param="spending_controls")
    if "spending_limits" in given:
        out["spending_limits"] = [
            {"categories": [], **limit, "amount": int(limit["amount"])} for limit in given["spending_limits"] or []
        ]
    return out


def update(world: World, call: Call) -> Answer:
    """Change status, limits or metadata; canceled is final."""
    card = world.find(KIND, call.ids[0], call.account, "v1")
    body = call.params
    changed: Json = {}
    if card.data["status"] == "canceled" and set(body) - {"metadata", "expand"}:
        raise refused("card_canceled", "A canceled card cannot be changed.")
    for name in ("status", "cancellation_reason", "personalization_design", "metadata"):
        if name in body and body[name] != card.data[name]:
            changed[name] = card.data[name]
            card.data[name] = body[name]
    if "pin" in body and not (body["pin"] or {}).get("encrypted_number"):
        raise invalid("pin[encrypted_number] is missing", param="pin")
    if "spending_controls" in body:
        changed["spending_controls"] = card.data["spending_controls"]
        card.data["spending_controls"] = {
            **card.data["spending_controls"],
            **controls_of(body["spending_controls"] or {}),
        }
    if changed:
        world.snapshot("updated", card, changed)
    if "status" in changed and card.data["status"] == "canceled":
        _ended(world, card)
    return Answer(card)


def _ended(world: World, card: Record) -> None:
    """What ends with a card: its way to the holder, when it has not left yet, and its tokens."""
    shipping = card.data["shipping"]
    if shipping and shipping["status"] in ("pending", "submitted"):
        card.data["shipping"] = {**shipping, "status": "canceled"}
        world.snapshot("updated", card, {"shipping": shipping})
    for token in world.all("issuing.token", card.account):
        if token.data["card"] == card.id and token.data["status"] != "deleted":
            before, token.data["status"] = token.data["status"], "deleted"
            world.snapshot("updated", token, {"status": before})
