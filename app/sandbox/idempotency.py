"""Idempotency keys, as different as v1 and v2 are.

v1: the first answer is stored and replayed byte for byte, failures and 500 included; refused parameters and conflicts
are not stored. v2: after a success the answer is rendered anew and nothing happens twice; after a failure the request
is executed again.
"""

from dataclasses import dataclass, field

from app.sandbox.calls import Answer, Call, Json
from app.sandbox.errors import ApiError

KEY_CHARS_MAX = 255


@dataclass(slots=True)
class Entry:
    """What is known of one key. ``running`` until the first answer is there."""

    fingerprint: int
    running: bool = True
    status: int = 0
    body: bytes = b""
    answer: Answer | None = None
    params: Json = field(default_factory=dict)


class Keys:
    """The keys of all accounts; scope: account, API and key."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str, str], Entry] = {}

    def claim(self, call: Call, raw: bytes) -> tuple[Entry | None, bool]:
        """(entry, whether it is fresh). (None, True) without a key. Raises ApiError for misuse and concurrent use."""
        key = call.idempotency_key
        if not key or call.method == "GET":
            return None, True
        if len(key) > KEY_CHARS_MAX:
            raise ApiError(400, "idempotency_key_too_long", "Idempotency-Key is too long", stored=False)
        fingerprint = hash((call.method, call.path, raw))
        place = (call.account, call.api, key)
        entry = self._entries.get(place)
        if entry is None:
            entry = self._entries[place] = Entry(fingerprint)
            return entry, True
        if entry.fingerprint != fingerprint:
            raise _misused(call)
        if entry.running:
            raise _conflict(call)
        return entry, False

    def forget(self, call: Call) -> None:
        """Make the key as if never used."""
        self._entries.pop((call.account, call.api, call.idempotency_key or ""), None)

    def expire(self) -> int:
        """Forget every key, as Stripe does 24 hours (v1) or 30 days (v2) after its first use; how many there were."""
        known = len(self._entries)
        self._entries.clear()
        return known


def _misused(call: Call) -> ApiError:
    message = "Keys for idempotent requests can only be used with the same parameters they were first used with."
    status = 400 if call.api == "v1" else 409
    return ApiError(status, "idempotency_error", message, kind="idempotency_error", stored=False)


def _conflict(call: Call) -> ApiError:
    message = "There is currently another in-progress request using this Idempotency-Key."
    if call.api == "v1":
        return ApiError(409, "idempotency_key_in_use", message, kind="idempotency_error", stored=False)
    return ApiError(409, "idempotency_conflict", message, stored=False)
