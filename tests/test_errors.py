"""Errors: codes are stable names that callers branch on."""

import pytest

from app import errors

KINDS = {
    errors.CardrailError: ("internal", 500),
    errors.BadInput: ("bad_input", 400),
    errors.Unauthenticated: ("unauthenticated", 401),
    errors.Forbidden: ("forbidden", 403),
    errors.NotFound: ("not_found", 404),
    errors.Conflict: ("conflict", 409),
    errors.Unavailable: ("unavailable", 503),
    errors.StripeRefused: ("stripe_refused", 502),
    errors.ConfigError: ("bad_config", 500),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_kind_has_its_code_and_status(kind: type[errors.CardrailError]) -> None:
    error = kind("A sentence.")
    assert (error.code, error.status) == KINDS[kind]
    assert str(error) == error.message == "A sentence."


def test_a_code_may_be_narrower_than_its_kind() -> None:
    error = errors.Conflict("Used before.", code="idempotency_key_reused", details={"key": "k"})
    assert (error.code, error.status, error.details) == ("idempotency_key_reused", 409, {"key": "k"})


def test_a_refusal_keeps_stripes_words() -> None:
    error = errors.StripeRefused("No.", stripe_code="insufficient_funds", request_id="req_1")
    assert error.details == {"stripe_code": "insufficient_funds", "request_id": "req_1"}


def test_unavailable_says_when_to_come_back() -> None:
    assert errors.Unavailable("Busy.", retry_after_s=5).retry_after_s == 5
