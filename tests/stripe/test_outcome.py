from typing import Any

import pytest

from app.stripe.outcome import Rejected, Settled, TryAgain, Unknown, Waiting, classify, impersonal


def test_a_success_is_settled_with_its_ids() -> None:
    assert classify(200, {"id": "ic_1"}, {"Request-Id": "req_1"}, api="v1") == Settled({"id": "ic_1"}, "ic_1", "req_1")


@pytest.mark.parametrize("code", ["idempotency_conflict", "idempotency_key_in_use", "lock_timeout"])
def test_a_conflict_in_flight_is_tried_again(code: str) -> None:
    assert isinstance(classify(409, {"error": {"code": code}}, {}, api="v2"), TryAgain)


def test_a_rate_limit_says_when_to_come_back() -> None:
    answer = classify(429, {"error": {"code": "rate_limit"}}, {"retry-after": "3"}, api="v1")
    assert isinstance(answer, TryAgain)
    assert answer.retry_after_s == 3


@pytest.mark.parametrize(
    ("said", "waits"),
    [
        ("Sun, 29 Nov 2026 02:00:20 GMT", 20),
        ("Sun, 29 Nov 2026 01:00:00 GMT", 0),
        ("-5", 0),
        ("soon", None),
        ("", None),
    ],
)
def test_a_moment_to_come_back_counts_from_the_answers_own_clock(said: str, waits: float | None) -> None:
    headers = {"Retry-After": said, "Date": "Sun, 29 Nov 2026 02:00:00 GMT"}
    for status, api in ((429, "v1"), (503, "v2"), (503, "v1")):
        answer = classify(status, {}, headers, api=api)
        assert isinstance(answer, TryAgain | Unknown)
        assert answer.retry_after_s == waits
    without = classify(429, {}, {"Retry-After": "Sun, 29 Nov 2026 02:00:20 GMT"}, api="v1")
    assert isinstance(without, TryAgain)
    assert without.retry_after_s is None


NOT_YET = [("insufficient_funds", "insufficient_funds"), ("feature_not_enabled", "storer_capability_not_active")]


@pytest.mark.parametrize(("kind", "code"), NOT_YET)
def test_money_or_a_capability_not_there_yet_is_waited_for(kind: str, code: str) -> None:
    body = {"error": {"type": kind, "code": code, "message": "low"}}
    assert classify(400, body, {}, api="v2") == Waiting(code, "low")


@pytest.mark.parametrize(("kind", "code"), NOT_YET)
def test_an_accounts_own_transfer_that_cannot_leave_now_is_refused(kind: str, code: str) -> None:
    body = {"error": {"type": kind, "code": code, "message": "low"}}
    assert classify(400, body, {}, api="v2", platform=False) == Rejected(code, "low")


@pytest.mark.parametrize(("status", "parks"), [(400, False), (401, True), (402, False), (403, True), (404, False)])
def test_a_no_for_good_parks_only_where_the_cause_is_ours(status: int, parks: bool) -> None:
    answer = classify(status, {"error": {"code": "nope"}}, {}, api="v1")
    assert isinstance(answer, Rejected)
    assert answer.parks is parks


@pytest.mark.parametrize(("status", "api"), [(400, "v1"), (409, "v2")])
def test_a_key_reused_for_something_else_is_for_a_person(status: int, api: str) -> None:
    answer = classify(status, {"error": {"type": "idempotency_error"}}, {}, api=api)
    assert isinstance(answer, Rejected)
    assert answer.parks


def test_v2_runs_a_failed_call_again_but_v1_stores_it() -> None:
    assert isinstance(classify(500, {}, {}, api="v2"), TryAgain)
    v1 = classify(500, {}, {}, api="v1")
    again = classify(500, {}, {"Idempotent-Replayed": "true"}, api="v1")
    assert isinstance(v1, Unknown)
    assert isinstance(again, Unknown)
    assert (v1.code, again.code) == ("v1_server_error", "replayed_500")


@pytest.mark.parametrize("body", [None, "", "<html>", [], 3, {"error": "x"}, {"error": None}, {"error": {"code": []}}])
@pytest.mark.parametrize("status", [200, 302, 400, 404, 409, 429, 500, 503])
def test_odd_bodies_never_raise(status: int, body: object) -> None:
    for api in ("v1", "v2"):
        classify(status, body, {"retry-after": "soon"}, api=api)


def test_a_refusal_that_repeats_what_was_sent_names_no_person() -> None:
    sent: dict[str, Any] = {
        "name": "Zenobia Quux",
        "billing": {"address": {"line1": "Callejon 93", "country": "MX"}},
        "type": "individual",
    }
    said = "Zenobia Quux of Callejon 93 in MX is no individual"
    told = impersonal(Rejected("invalid", said), sent)
    assert told == Rejected("invalid", "[redacted] of [redacted] in MX is no individual")
