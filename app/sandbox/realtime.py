"""The synchronous ``issuing_authorization.request``: whose answer, in time and in form, is the decision."""

import orjson

from app.sandbox.calls import Record
from app.sandbox.world import World


async def ask(world: World, record: Record, wanted: int, *, controllable: bool) -> tuple[bool, int, str, str | None]:
    """Call the real-time endpoint: (approved, amount, reason, reason_message)."""
    pending = {
        "amount": wanted,
        "amount_details": {"atm_fee": None, "cashback_amount": 0},
        "currency": "usd",
        "is_amount_controllable": controllable,
        "merchant_amount": record.data["merchant_amount"],
        "merchant_currency": record.data["merchant_currency"],
        "network_risk_score": 1,
    }
    _, body = world.events.request(record, {**record.data, "pending_request": pending})
    assert world.authorization_url is not None
    default = world.authorization_default
    status, content, headers = await world.webhooks.post(
        world.authorization_url, body, world.authorization_secret, timeout_s=world.settings.authorization_timeout_s
    )
    if status == -1:
        return default, wanted, "webhook_timeout", None
    if status != 200:
        return default, wanted, "webhook_error", f"status {status}"
    if "stripe-version" not in headers:
        return default, wanted, "webhook_error", "the response has no Stripe-Version header"
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        return default, wanted, "webhook_error", "the response is not JSON"
    if not isinstance(answer, dict) or type(answer.get("approved")) is not bool:
        return default, wanted, "webhook_error", "approved is missing or no boolean"
    amount = answer.get("amount", wanted)
    if "amount" in answer and (not controllable or type(amount) is not int or not 0 < amount <= wanted):
        return default, wanted, "webhook_error", "amount is not allowed here"
    if answer.get("send_fraud_challenges") == ["sms"] and not answer["approved"]:
        record.data["fraud_challenges"] = [{"channel": "sms", "status": "pending", "undeliverable_reason": None}]
    if isinstance(answer.get("metadata"), dict):
        record.data["metadata"].update(answer["metadata"])
    return answer["approved"], amount, "webhook_approved" if answer["approved"] else "webhook_declined", None
