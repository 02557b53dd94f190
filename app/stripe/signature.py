"""Webhook signatures: was this body signed by someone who holds one of our secrets, lately?

The rule it enforces: HMAC-SHA256 over ``<t>.<raw body>``, scheme ``v1`` only, every ``v1`` against every secret in
constant time, at most ``tolerance_s`` away from our clock in either direction. Pure: the time is an argument. A refusal
says what is wrong in words that help the one who set the endpoint up (source: Stripe's webhook docs, section 1).
"""

import hmac
import json
from collections.abc import Iterator, Mapping, Sequence

import msgspec

DIAGNOSED_BODY_MAX_BYTES = 65_536
_T_DIGITS_MAX = 12
_HEX_DIGITS = 64


class Verified(msgspec.Struct, frozen=True):
    """Signed at ``t`` (unix seconds) with the secret at position ``secret`` of those given."""

    t: int
    secret: int


class Refused(msgspec.Struct, frozen=True):
    """``code`` is stable; ``message`` is one sentence; ``detail`` holds numbers for the doctor, never a secret."""

    code: str
    message: str
    detail: Mapping[str, object] = {}


class _Header(msgspec.Struct, frozen=True):
    t: bytes | None
    v1: tuple[bytes, ...]
    other: tuple[str, ...]


def sign(body: bytes, secret: bytes, t: int) -> bytes:
    """The header that Stripe would send for ``body``; for the sandbox's sake and for tests."""
    return b"t=%d,v1=%s" % (t, _digest(secret, b"%d" % t, body))


def verify(
    header: bytes | None,
    body: bytes,
    secrets: Sequence[bytes],
    now: float,
    tolerance_s: int = 300,
    *,
    diagnose: bool = True,
) -> Verified | Refused:
    """Check one delivery. ``header`` is the raw `Stripe-Signature` value or None, ``now`` unix seconds.

    ``diagnose`` allows the costly search for a re-serialised body on a mismatch.
    """
    if not header:
        return Refused("signature_missing", "The request has no Stripe-Signature header.")
    parts = _parse(header)
    if parts.t is None or not parts.t.isdigit() or len(parts.t) > _T_DIGITS_MAX:
        return Refused("signature_malformed", "The Stripe-Signature header has no t=<unix seconds>.")
    if not parts.v1:
        return _no_v1(parts)
    secret = _match(parts, body, secrets)
    t = int(parts.t)
    skew_s = round(t - now)
    if secret is None:
        return _mismatch(parts, body, secrets, skew_s, diagnose=diagnose)
    if skew_s < -tolerance_s:
        message = f"The signature is {-skew_s} s old; at most {tolerance_s} s are accepted."
        return Refused("signature_stale", message, {"skew_s": skew_s, "tolerance_s": tolerance_s, "secret": secret})
    if skew_s > tolerance_s:
        message = f"The signature is from {skew_s} s in the future; at most {tolerance_s} s are accepted."
        return Refused("signature_future", message, {"skew_s": skew_s, "tolerance_s": tolerance_s, "secret": secret})
    return Verified(t, secret)


def _parse(header: bytes) -> _Header:
    t: bytes | None = None
    v1: list[bytes] = []
    other: list[str] = []
    for part in header.split(b","):
        name, _, value = part.strip().partition(b"=")
        if name == b"v1":
            v1.append(value)
        elif name == b"t":
            t = value if t is None else t
        else:
            other.append(name[:16].decode("ascii", "replace"))
    return _Header(t, tuple(v1), tuple(other))


def _digest(secret: bytes, t: bytes, body: bytes) -> bytes:
    return hmac.digest(secret, b"%s.%s" % (t, body), "sha256").hex().encode()


def _match(parts: _Header, body: bytes, secrets: Sequence[bytes]) -> int | None:
    """The position of the secret that signed. Each comparison takes constant time; which secret it was is no secret."""
    assert parts.t is not None
    for position, secret in enumerate(secrets):
        expected = _digest(secret, parts.t, body)
        if any([hmac.compare_digest(expected, given) for given in parts.v1]) and secret:  # noqa: C419  # all are tried
            return position
    return None


def _no_v1(parts: _Header) -> Refused:
    if "v0" in parts.other:
        message = "The Stripe-Signature header has only v0, a test scheme that proves nothing; v1 is required."
    else:
        message = "The Stripe-Signature header has no v1 signature."
    return Refused("signature_scheme", message, {"schemes": list(parts.other[:5]), "only_v0": "v0" in parts.other})


def _mismatch(parts: _Header, body: bytes, secrets: Sequence[bytes], skew_s: int, *, diagnose: bool) -> Refused:
    detail: dict[str, object] = {"v1_count": len(parts.v1), "secrets_tried": len(secrets), "skew_s": skew_s}
    if any(len(given) != _HEX_DIGITS for given in parts.v1):
        cause, message = "malformed_v1", "A v1 value is no SHA-256 digest in hex."
    elif diagnose and _was_reserialised(parts, body, secrets):
        cause = "reserialised"
        message = "The secret is right, but the body was parsed and written again on its way: pass the raw bytes on."
    else:
        cause = "wrong_secret"
        message = "No v1 signature matches: another endpoint's secret, or the body was altered on its way."
    return Refused("signature_mismatch", message, {"cause": cause, **detail})


def _was_reserialised(parts: _Header, body: bytes, secrets: Sequence[bytes]) -> bool:
    if len(body) > DIAGNOSED_BODY_MAX_BYTES:
        return False
    return any(_match(parts, other, secrets) is not None for other in _other_forms(body))


def _other_forms(body: bytes) -> Iterator[bytes]:
    """The same JSON as Stripe may have written it, before something on the way wrote it anew."""
    try:
        value = json.loads(body)
        for ascii_only in (False, True):
            for indent, separators in ((2, (",", ": ")), (None, (",", ":")), (None, (", ", ": "))):
                text = json.dumps(value, indent=indent, separators=separators, ensure_ascii=ascii_only)
                yield text.encode()
                yield text.encode() + b"\n"
    except (ValueError, RecursionError):
        return
    yield body.strip()
    yield body.replace(b"\r\n", b"\n")
