"""What can go wrong, in few kinds. Each has a stable ``code`` that callers may branch on, and the HTTP status that
`web/problems.py` answers with. Anything that is not one of these is a bug and shows as ``internal``.
"""

from collections.abc import Mapping
from typing import ClassVar


class CardrailError(Exception):
    """The root of our errors. ``message`` is one sentence for a human and holds no secret.

    ``code`` narrows the kind where a caller can act on it (``idempotency_key_reused``); ``details`` are extra members
    of the answer; ``status`` overrides the kind's HTTP status.
    """

    default_code: ClassVar[str] = "internal"
    default_status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.status = status or self.default_status
        self.details = dict(details or {})


class BadInput(CardrailError):
    """What was sent cannot be meant: wrong type, unknown network, no money. ``details["errors"]`` may list the fields."""

    default_code = "bad_input"
    default_status = 400


class Unauthenticated(CardrailError):
    """No API key, or one we do not know."""

    default_code = "unauthenticated"
    default_status = 401


class Forbidden(CardrailError):
    """The key is known but its scope does not reach this far."""

    default_code = "forbidden"
    default_status = 403


class NotFound(CardrailError):
    """There is no such thing here."""

    default_code = "not_found"
    default_status = 404


class Conflict(CardrailError):
    """It stands against what is already so: a key used for another body, a state that does not allow this."""

    default_code = "conflict"
    default_status = 409


class Unavailable(CardrailError):
    """Not now: the database or Stripe cannot be reached. The same call may work after ``retry_after_s`` seconds."""

    default_code = "unavailable"
    default_status = 503

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retry_after_s: int = 1,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, code=code, details=details)
        self.retry_after_s = retry_after_s


class RateLimited(CardrailError):
    """Too many requests with one API key. The next may pass after ``retry_after_s``; ``per_s`` are allowed a second."""

    default_code = "rate_limited"
    default_status = 429

    def __init__(self, message: str, *, retry_after_s: int, per_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.per_s = per_s


class StripeRefused(CardrailError):
    """Stripe said no. ``stripe_code`` is Stripe's own code, ``request_id`` its name for the call."""

    default_code = "stripe_refused"
    default_status = 502

    def __init__(
        self, message: str, *, stripe_code: str | None = None, request_id: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(message, status=status, details={"stripe_code": stripe_code, "request_id": request_id})
        self.stripe_code = stripe_code
        self.request_id = request_id


class ConfigError(CardrailError):
    """A setting is missing or wrong; the message names it. Stops the start, never answers a request."""

    default_code = "bad_config"
