"""What a call to Stripe came to, as a value. One place reads Stripe's statuses and codes; the flow matches once."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from app.log import REDACTED, personal_values
from app.machines.events import Json


class Settled(msgspec.Struct, frozen=True):
    """Stripe did it; ``object`` is its answer."""

    object: Json
    object_id: str | None
    request_id: str | None


class TryAgain(msgspec.Struct, frozen=True):
    """Not now; the same call under the same key may work later. ``counts`` is false for a mere snooze."""

    code: str
    message: str
    retry_after_s: float | None = None
    counts: bool = True


class Waiting(msgspec.Struct, frozen=True):
    """Something that it needs is not there yet: money on the platform's account, a parent that still opens."""

    code: str
    message: str


class Rejected(msgspec.Struct, frozen=True):
    """A no for good. ``parks`` when a person must decide, since the cause lies with us and not with the request.

    ``replayed``: Stripe holds it under this key and repeated it.
    """

    code: str
    message: str
    request_id: str | None = None
    parks: bool = False
    replayed: bool = False


class Unknown(msgspec.Struct, frozen=True):
    """Whether it took effect is not known."""

    code: str
    message: str
    retry_after_s: float | None = None


Outcome = Settled | TryAgain | Waiting | Rejected | Unknown


def impersonal(outcome: Outcome, sent: Json) -> Outcome:
    """The outcome without what was personal in the call: Stripe's sentences repeat the value that they object to."""
    if isinstance(outcome, Settled):
        return outcome
    message = outcome.message
    for value in sorted(personal_values(sent), key=len, reverse=True):
        message = message.replace(value, REDACTED)
    return msgspec.structs.replace(outcome, message=message)


NOT_YET = frozenset({"insufficient_funds", "storer_capability_not_active"})
"""What comes in time, or comes back: waited for, but not by what a holder asked for to leave now."""
WAITING = NOT_YET | frozenset({"pending_financial_account", "account_not_configured_as_recipient"})
AGAIN = frozenset({"idempotency_conflict", "idempotency_key_in_use", "lock_timeout", "rate_limit"})
PARKING = frozenset(
    {"idempotency_error", "outbound_payment_not_allowed", "approval_required", "approvals_request_blocked"}
)


def classify(status: int, body: Any, headers: Mapping[str, str], *, api: str, platform: bool = True) -> Outcome:
    """The outcome of an answered call. Never raises, whatever the body is.

    ``platform`` says that the call is a step of the platform's: its balance is filled up in time and a capability comes
    back, so both are waited for. A connected account's transfer is refused instead: it must not leave days after it was asked for.
    """
    known = {k.lower(): v for k, v in headers.items()}
    request_id = known.get("request-id")
    if 200 <= status < 300:
        if not isinstance(body, dict):
            return Unknown("unreadable_answer", f"{status} without a JSON object")
        object_id = body.get("id")
        return Settled(body, object_id if isinstance(object_id, str) else None, request_id)
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else {}
    code = str(error.get("code") or error.get("type") or f"http_{status}")
    message = str(error.get("message") or f"Stripe answered {status}.")
    kinds = {code, str(error.get("type") or "")}
    if status >= 500:
        return _server_error(api, known, code, message)
    if status in (408, 429) or kinds & AGAIN or (status == 409 and "idempotency_error" not in kinds):
        return TryAgain(code, message, _retry_after_s(known))
    if kinds & WAITING and (platform or not kinds & NOT_YET):
        return Waiting(code, message)
    parks = status in (401, 403) or bool(kinds & PARKING)
    return Rejected(code, message, request_id, parks=parks, replayed=known.get("idempotent-replayed") == "true")


def _server_error(api: str, headers: Mapping[str, str], code: str, message: str) -> Outcome:
    """v2 runs a failed call again under its key; v1 stores even a 500, so only reading back can tell."""
    if api == "v2":
        return TryAgain(code, message, _retry_after_s(headers))
    if headers.get("idempotent-replayed") == "true":
        return Unknown("replayed_500", message)
    return Unknown("v1_server_error", message, _retry_after_s(headers))


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, or a moment (as proxies say it) by the clock of the one who answered."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - parsedate_to_datetime(headers["date"])).total_seconds())
    except (ValueError, TypeError, KeyError):
        return None
