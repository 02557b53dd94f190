"""The envelope of a delivery: whose event it is, which one, of what type; nothing else is read at the door.

The rule it enforces (DESIGN, "Whose event"): the account is a pure function of the payload, so a duplicate that comes
through another destination finds the same row. Optional fields of an unexpected shape count as absent; only what the
key of the row needs can refuse an event.
"""

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from app.stripe.body import decoded

ID_LENGTH_MAX = 255
CREATED_MIN = 946_684_800  # 2000-01-01: no event of Stripe's is older
CREATED_MAX = 4_102_444_800  # 2100-01-01
_ACCOUNT = "v2.core.account"


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What the door knows of an event. ``livemode`` is None when the body does not say."""

    account_id: str
    event_id: str
    type: str
    kind: Literal["snapshot", "thin"]
    created: datetime
    livemode: bool | None
    twin_id: str | None = None


class Refused(msgspec.Struct, frozen=True):
    """The body is no event that could be kept: a stable ``code`` and one sentence."""

    code: str
    message: str


class _Body(msgspec.Struct):
    id: Any = None
    object: Any = None
    type: Any = None
    created: Any = None
    livemode: Any = None
    account: Any = None
    context: Any = None
    related_object: Any = None
    snapshot_event: Any = None


_decoder = msgspec.json.Decoder(_Body)


def read(body: bytes, platform_account: str) -> Envelope | Refused:
    """Read the envelope of ``body``; an event of no connected account belongs to ``platform_account``."""
    try:
        if not body.isascii():
            body.decode()
    except UnicodeDecodeError as wrong:
        return Refused("body_not_utf8", f"The body is not UTF-8 (byte {wrong.start}).")
    try:
        raw = decoded(body, _decoder)
    except msgspec.ValidationError:
        return Refused("body_no_event", "The body is JSON, but no event object.")
    except (msgspec.DecodeError, RecursionError, ValueError):
        return Refused("body_not_json", "The body is not JSON.")
    if raw.object == "event":
        kind: Literal["snapshot", "thin"] = "snapshot"
        account = _text(raw.account) or _last_segment(raw.context)
    elif raw.object == "v2.core.event":
        kind = "thin"
        account = _thin_account(raw)
    else:
        return Refused("body_no_event", "The body is no event: its `object` is neither event nor v2.core.event.")
    return _checked(raw, kind, account or platform_account)


def _checked(raw: _Body, kind: Literal["snapshot", "thin"], account: str) -> Envelope | Refused:
    if not isinstance(raw.id, str) or not isinstance(raw.type, str) or not raw.id or not raw.type:
        return Refused("body_no_event", "The body is no event: `id` and `type` must be strings.")
    for name, value in (("id", raw.id), ("type", raw.type), ("account", account)):
        if len(value) > ID_LENGTH_MAX:
            return Refused("event_field_too_long", f"The event's {name} is longer than {ID_LENGTH_MAX} characters.")
        if not _storable(value):
            return Refused("event_field_unstorable", f"The event's {name} holds a character that cannot be stored.")
    created = _created(raw.created)
    if created is None:
        return Refused("event_created_invalid", "The event's `created` is no time between the years 2000 and 2100.")
    twin = _text(raw.snapshot_event)
    return Envelope(
        account_id=account,
        event_id=raw.id,
        type=raw.type,
        kind=kind,
        created=created,
        livemode=raw.livemode if isinstance(raw.livemode, bool) else None,
        twin_id=twin if twin and len(twin) <= ID_LENGTH_MAX and _storable(twin) else None,
    )


def _thin_account(raw: _Body) -> str | None:
    """The account that a thin event is about: itself for ``v2.core.account*``, else the last segment of the context."""
    if isinstance(raw.type, str) and raw.type.startswith(_ACCOUNT) and isinstance(raw.related_object, dict):
        about = _text(raw.related_object.get("id"))
        if about and about.startswith("acct_"):
            return about
        # A person of an account: the account is in the path, /v2/core/accounts/{account}/persons/{id}.
        segments = (_text(raw.related_object.get("url")) or "").split("?")[0].split("/")
        if "accounts" in segments[:-1] and (owner := segments[segments.index("accounts") + 1]):
            return owner
    return _last_segment(raw.context)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _last_segment(context: object) -> str | None:
    return _text(context.rstrip("/").rsplit("/", 1)[-1]) if isinstance(context, str) else None


def _storable(value: str) -> bool:
    """Whether PostgreSQL can hold it: no NUL, no lone surrogate."""
    if value.isascii():
        return "\0" not in value
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def _created(value: object) -> datetime | None:
    """Unix seconds (snapshot) or RFC 3339 (thin); either form is taken from either kind."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        elif isinstance(value, int | float) and not isinstance(value, bool) and CREATED_MIN <= value <= CREATED_MAX:
            return datetime.fromtimestamp(value, UTC)
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return moment if CREATED_MIN <= moment.timestamp() <= CREATED_MAX else None
