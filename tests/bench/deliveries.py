"""Signed deliveries with unique ids, as whole HTTP requests ready to send: a 3 KB snapshot or a 0.6 KB thin event.

`authorization` is the 3 KB snapshot again, but each one of an authorization of its own and spread over fewer accounts:
every one of them changes state, so that applying them is the whole work. `charge` is what the npm peer keeps best;
`purchase` is a real-time authorization request, of an authorization of its own.
"""

import json
import time
from typing import Any, Literal

from app.stripe.signature import sign

SECRET = "whsec_bench"
PLATFORM = "acct_platform"
ACCOUNTS = 500
Kind = Literal["snapshot", "thin", "authorization", "charge", "purchase"]

_ID = "evt_ID_______________________"
_ACCOUNT = "acct_AC___________"
_OBJECT = "iauth_OB______________"


def _snapshot() -> bytes:
    merchant = {
        "category": "computer_software_stores",
        "city": "Ciudad de Mexico",
        "country": "MX",
        "name": "ROCKET RIDES",
    }
    history = [
        {"amount": 1250 + n, "approved": True, "currency": "usd", "merchant_amount": 1250, "reason": "webhook_approved"}
        for n in range(6)
    ]
    card: dict[str, Any] = {"id": "ic_1SDemo0001", "object": "issuing.card", "last4": "4242", "status": "active"}
    card["spending_controls"] = {
        "allowed_categories": None,
        "spending_limits": [{"amount": 10_000_00, "interval": "daily"}],
    }
    thing = {
        "id": _OBJECT,
        "object": "issuing.authorization",
        "amount": 1250,
        "approved": True,
        "currency": "usd",
        "status": "pending",
        "card": card,
        "merchant_data": merchant,
    }
    thing |= {"request_history": history, "metadata": {f"key_{n}": "value " * 6 for n in range(20)}}
    body = {
        "id": _ID,
        "object": "event",
        "account": _ACCOUNT,
        "api_version": "2026-10-14.preview",
        "created": 1_790_000_123,
    }
    body |= {"data": {"object": thing}, "livemode": False, "pending_webhooks": 1}
    body |= {"request": {"id": None, "idempotency_key": None}, "type": "issuing_authorization.created"}
    return json.dumps(body, indent=2).encode()


def _thin() -> bytes:
    related = {"id": _ACCOUNT, "type": "v2.core.account", "url": f"/v2/core/accounts/{_ACCOUNT}"}
    reason = {"type": "request", "request": {"id": "req_v24vUuYzGRFN1MnPC", "idempotency_key": "a" * 36}}
    body = {"id": _ID, "object": "v2.core.event", "created": "2026-10-14T09:21:07.412Z", "livemode": False}
    body |= {"type": "v2.core.account[configuration.card_creator].capability_status_updated", "context": _ACCOUNT}
    return json.dumps(body | {"related_object": related, "reason": reason}, indent=2).encode()


def _charge() -> bytes:
    details = {"address": {"city": "Lima", "country": "PE", "line1": None, "postal_code": None}, "name": "Jo Roe"}
    thing: dict[str, Any] = {"id": _OBJECT, "object": "charge", "amount": 1250, "amount_captured": 1250}
    thing |= {"amount_refunded": 0, "billing_details": details, "captured": True, "created": 1_790_000_123}
    thing |= {"currency": "usd", "description": None, "disputed": False, "fraud_details": {}, "livemode": False}
    thing |= {"metadata": {f"key_{n}": "value " * 6 for n in range(30)}, "paid": True, "payment_method": "pm_1"}
    thing |= {"payment_method_details": {"type": "card", "card": {"brand": "visa", "last4": "4242"}}}
    thing |= {"receipt_url": None, "refunded": False, "status": "succeeded"}
    body: dict[str, Any] = {"id": _ID, "object": "event", "account": _ACCOUNT, "api_version": "2026-10-14.preview"}
    body |= {"created": 1_790_000_123, "data": {"object": thing}, "livemode": False, "pending_webhooks": 1}
    return json.dumps(body | {"type": "charge.succeeded"}, indent=2).encode()


def _purchase() -> bytes:
    body = json.loads(_snapshot())
    body["type"] = "issuing_authorization.request"
    thing = body["data"]["object"]
    thing |= {"amount": 0, "approved": False, "authorization_method": "online"}
    thing["pending_request"] = {"amount": 125, "currency": "usd", "is_amount_controllable": False}
    return json.dumps(body, indent=2).encode()


_BODIES = {"snapshot": _snapshot, "authorization": _snapshot, "thin": _thin, "charge": _charge, "purchase": _purchase}
_OWN_OBJECT = {"authorization": "iauth", "charge": "ch", "purchase": "iauth"}
_SPREAD = {"authorization": 200, "purchase": 2_000}


def template(kind: Kind) -> bytes:
    """The body that the deliveries of one kind share, but for the ids."""
    return _BODIES[kind]()


def requests(kind: Kind, count: int, seed: str, path: str) -> list[bytes]:
    """``count`` requests with ids of their own, signed now."""
    parts = template(kind).replace(_ACCOUNT.encode(), b"\1").split(_ID.encode())
    assert len(parts) == 2
    accounts = _SPREAD.get(kind, ACCOUNTS)
    now = int(time.time())
    found = []
    for n in range(count):
        event_id = f"evt_{seed}_{n:010d}".ljust(len(_ID), "x").encode()
        account = f"acct_{n % accounts:04d}".ljust(len(_ACCOUNT), "a").encode()
        thing = f"{_OWN_OBJECT[kind]}_{seed}_{n:010d}" if kind in _OWN_OBJECT else "iauth_1"
        body = event_id.join(parts).replace(b"\1", account).replace(_OBJECT.encode(), thing.encode())
        head = b"POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json; charset=utf-8\r\n" % path.encode()
        head += (
            b"User-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\nAccept: */*\r\nContent-Length: %d\r\n"
            % len(body)
        )
        found.append(head + b"Stripe-Signature: %s\r\n\r\n" % sign(body, SECRET.encode(), now) + body)
    return found
