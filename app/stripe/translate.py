"""Translate: one row of the log into happenings, and before that, which readings it needs. Pure.

A thin event says only that something happened to an object: what it became is read, and kept beside the event. What
cannot be understood is poisoned, with a stable code; nothing else is ever raised.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from app.machines.events import Happening, Json, Observed
from app.stripe import alerts, catalog
from app.stripe.body import ANYTHING, decoded
from app.stripe.objects import observe

_URL = re.compile(r"/v[12](/[A-Za-z0-9_\-]+)+", re.ASCII)
_HOST = "https://api.stripe.com"
_FUNDS = {"issuing_dispute.funds_reinstated": "reinstated", "issuing_dispute.funds_rescinded": "rescinded"}
_CONFIGURATIONS = ("card_creator", "merchant")


class Poisoned(Exception):
    """The event cannot be understood: a stable code and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Stored(msgspec.Struct, frozen=True):
    """One row of the log as translation sees it; times in milliseconds."""

    account_id: str
    event_id: str
    source: str
    type: str
    kind: str
    created_ms: int
    received_ms: int
    payload: bytes
    fetched: dict[str, Any] | None


class Read(msgspec.Struct, frozen=True):
    """One object to read: path below Stripe's API, context, and what to include.

    ``event_id`` is Stripe's event behind it, if any. ``beside``: the event is not about it, and can be folded without it.
    """

    url: str
    context: str | None
    include: tuple[str, ...]
    event_id: str | None
    beside: bool = False


class _Raw(msgspec.Struct, frozen=True):
    object: dict[str, Any]
    at: int


class _Internal(msgspec.Struct, frozen=True):
    happenings: tuple[Happening, ...] = ()
    objects: tuple[_Raw, ...] = ()


def encode(happenings: Sequence[Happening], objects: Sequence[tuple[Json, int]] = ()) -> bytes:
    """Payload of an internal event; ``objects`` are raw Stripe objects with their time of reading in milliseconds."""
    raw = [{"object": obj, "at": at} for obj, at in objects]
    return msgspec.json.encode({"happenings": list(happenings), "objects": raw})


def account_include(vocabulary: str) -> tuple[str, ...]:
    """What must be included for an account's answer to hold what we follow."""
    configurations = tuple(f"configuration.{c}" for c in (*_CONFIGURATIONS, vocabulary))
    return (*configurations, "requirements", "future_requirements")


def reads(stored: Stored, *, vocabulary: str) -> tuple[Read, ...]:
    """What must be read before this event can be folded. Raises Poisoned for a body that is no event."""
    entry = catalog.lookup(stored.type)
    if stored.kind != "thin" or entry is None or entry.handling not in ("object", "alert"):
        return ()
    body = _json(stored.payload)
    if entry.handling == "alert":
        return () if alerts.data_of(body) else (_itself(stored, body),)
    related = body.get("related_object")
    url = related.get("url") if isinstance(related, dict) else None
    if not isinstance(url, str):
        if entry.kind != "account":
            raise Poisoned("no_object", "related_object is missing: the event does not say which object it is about.")
        url = f"/v2/core/accounts/{stored.account_id}"  # whose event it is says what it is about
    url = url.removeprefix(_HOST).split("?", 1)[0]
    if not _URL.fullmatch(url):
        raise Poisoned("bad_related_url", "related_object.url is no path of Stripe's API.")
    context = body.get("context")
    include = account_include(vocabulary) if entry.kind == "account" else ()
    return (Read(url, context if isinstance(context, str) and context else None, include, trigger(stored)),)


def trigger(stored: Stored) -> str | None:
    """The event of Stripe's that makes us read; none for one of our own, which Stripe has never heard of."""
    return None if stored.kind == "internal" else stored.event_id


def _itself(stored: Stored, body: dict[str, Any]) -> Read:
    """The event, with the data that a pushed one lacks."""
    context = body.get("context")
    if not re.fullmatch(r"[A-Za-z0-9_]+", stored.event_id, re.ASCII):
        raise Poisoned("bad_related_url", "The id of the event makes no path of Stripe's API.")
    url = f"/v2/core/events/{stored.event_id}"
    return Read(url, context if isinstance(context, str) and context else None, (), trigger(stored))


def happenings(stored: Stored) -> tuple[Happening, ...]:
    """What this event says happened, its kept readings included. Raises Poisoned."""
    found: list[Happening] = []
    if stored.kind == "internal":
        try:
            internal = msgspec.json.decode(stored.payload, type=_Internal)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Poisoned("bad_internal_event", f"payload of our own cannot be read: {error}") from error
        found += internal.happenings
        found += [seen for raw in internal.objects for seen in _answered(raw.object, raw.at)]
    elif stored.kind == "snapshot":
        found += _snapshot(stored)
    elif (entry_of := catalog.lookup(stored.type)) is not None and entry_of.handling == "alert":
        return _alert(stored)
    for entry in (stored.fetched or {}).values():
        if isinstance(entry, dict) and isinstance(entry.get("object"), dict):
            at = entry.get("at")
            if not isinstance(at, int) or isinstance(at, bool):
                at = stored.received_ms
            if (seen := observe(entry["object"], at, sure=True)) is not None:
                seen = _with_funds(stored.type, seen)
                found.append(_spendable(seen) if stored.type.endswith(".available") else seen)
    return tuple(found)


def _spendable(seen: Observed) -> Observed:
    """Money in that succeeded need not be spendable yet: only the event says so, no field of the object does."""
    if seen.kind not in ("received_credit", "inbound_transfer"):
        return seen
    return msgspec.structs.replace(seen, fields={**seen.fields, "available": True})


def _alert(stored: Stored) -> tuple[Happening, ...]:
    """A health event is the alert: its data stand in its body, or in the reading of itself."""
    read = [entry.get("object") for entry in (stored.fetched or {}).values() if isinstance(entry, dict)]
    bodies = (_json(stored.payload), *read)
    data = next((data for body in bodies if (data := alerts.data_of(body)) is not None), None)
    if data is None:
        raise Poisoned("no_object", "The health event came without data.")
    return (alerts.observe(stored.type, stored.event_id, data, stored.created_ms),)


def _answered(raw: object, at_ms: int) -> list[Observed]:
    """An answered object, and the payout method inside a setup intent: its own event may be late or lost."""
    intent = isinstance(raw, dict) and "outbound_setup_intent" in str(raw.get("object"))
    inner = raw.get("payout_method") if intent and isinstance(raw, dict) else None
    return [seen for one in (raw, inner) if (seen := observe(one, at_ms, sure=True)) is not None]


def _snapshot(stored: Stored) -> list[Happening]:
    entry = catalog.lookup(stored.type)
    if entry is None or entry.handling != "object":
        return []
    data = _json(stored.payload).get("data")
    obj = data.get("object") if isinstance(data, dict) else None
    if not isinstance(obj, dict):
        raise Poisoned("no_object", "data.object is missing.")
    seen = observe(obj, stored.created_ms, sure=False)
    if seen is None:
        raise Poisoned("unknown_object", f"data.object of {stored.type} has no id or is no object we know.")
    return [_heard_closed(stored, _with_funds(stored.type, seen))]


def _heard_closed(stored: Stored, seen: Observed) -> Observed:
    """When we knew that an authorization is closed: Stripe's own time of it is floored to the second, so a balance read since
    then shows the capture, and one read within that second need not.
    """
    if (seen.kind, seen.status) != ("authorization", "closed"):
        return seen
    return msgspec.structs.replace(seen, fields={**seen.fields, "closed_heard_ms": stored.received_ms})


def _with_funds(event_type: str, seen: Observed) -> Observed:
    """What only the type of a dispute's event says: where the disputed money went."""
    funds = _FUNDS.get(catalog.canonical(event_type))
    if funds is None or seen.kind != "dispute":
        return seen
    return msgspec.structs.replace(seen, fields={**seen.fields, "funds": funds})


def _json(payload: bytes) -> dict[str, Any]:
    try:
        body = decoded(payload, ANYTHING)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Poisoned("bad_json", "The payload is no JSON.") from error
    if not isinstance(body, dict):
        raise Poisoned("bad_json", "The payload is no JSON object.")
    return body
