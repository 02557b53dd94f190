"""The table of idempotency: v1 and v2 differ, and each is as documented."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sandbox.conftest import HOLDER, Box, account_body

ACCOUNTS = "/v2/core/accounts"
HOLDERS = "/v1/issuing/cardholders"


def fault(box: Box, path: str, kind: str) -> None:
    one = {"method": "POST", "path_prefix": path, "kind": kind, "times": 1}
    box.control("PUT", "faults", {"targeted": [one]})


def made(box: Box, kind: str) -> int:
    return int(box.control("GET", "requests")["created"].get(kind, 0))


def test_v1_replays_a_success_byte_for_byte(box: Box) -> None:
    account = box.account()
    first, second = (box.call("POST", HOLDERS, HOLDER, Stripe_Account=account, Idempotency_Key="k") for _ in range(2))
    assert first.content == second.content
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert made(box, "issuing.cardholder") == 1


def test_v1_replays_a_500_for_ever_and_a_new_key_gets_through(box: Box) -> None:
    account = box.account()
    fault(box, HOLDERS, "api_500")
    answers = [box.call("POST", HOLDERS, HOLDER, Stripe_Account=account, Idempotency_Key="k") for _ in range(3)]
    assert [a.status_code for a in answers] == [500, 500, 500]
    assert len({a.content for a in answers}) == 1
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert box.call("POST", HOLDERS, HOLDER, Stripe_Account=account, Idempotency_Key="k2").status_code == 200
    assert made(box, "issuing.cardholder") == 1


def test_v1_does_not_store_refused_parameters(box: Box) -> None:
    account = box.account()
    bad = {**HOLDER, "nonsense": "1"}
    refused = box.call("POST", HOLDERS, bad, Stripe_Account=account, Idempotency_Key="k")
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"
    assert refused.json()["error"]["param"] == "nonsense"
    assert box.call("POST", HOLDERS, HOLDER, Stripe_Account=account, Idempotency_Key="k").status_code == 200


def test_v2_renders_a_success_anew_and_makes_nothing_twice(box: Box) -> None:
    first = box.call("POST", ACCOUNTS, account_body(), Idempotency_Key="k").json()
    box.settle()
    second = box.call("POST", ACCOUNTS, account_body(), Idempotency_Key="k").json()
    assert first["id"] == second["id"]
    leaf = [
        a["configuration"]["card_creator"]["capabilities"]["commercial"]["lead"]["prepaid_card"]
        for a in (first, second)
    ]
    assert [one["status"] for one in leaf] == ["pending", "active"]
    assert made(box, "v2.core.account") == 1


def test_v2_executes_again_after_a_failure(box: Box) -> None:
    fault(box, ACCOUNTS, "api_500")
    assert box.call("POST", ACCOUNTS, account_body(), Idempotency_Key="k").status_code == 500
    assert box.call("POST", ACCOUNTS, account_body(), Idempotency_Key="k").status_code == 200
    assert made(box, "v2.core.account") == 1


@pytest.mark.parametrize(("api", "status"), [("v1", 400), ("v2", 409)])
def test_other_parameters_under_the_same_key_are_refused(box: Box, api: str, status: int) -> None:
    account = box.account()
    if api == "v1":
        box.call("POST", HOLDERS, HOLDER, Stripe_Account=account, Idempotency_Key="k")
        other = box.call("POST", HOLDERS, {**HOLDER, "name": "Eva"}, Stripe_Account=account, Idempotency_Key="k")
    else:
        box.call("POST", ACCOUNTS, account_body(), Idempotency_Key="k")
        other = box.call("POST", ACCOUNTS, account_body("+other"), Idempotency_Key="k")
    assert other.status_code == status
    assert other.json()["error"]["code"] == "idempotency_error"


@pytest.mark.parametrize(("api", "code"), [("v1", "idempotency_key_in_use"), ("v2", "idempotency_conflict")])
def test_concurrent_use_of_a_key_is_a_conflict_and_one_object(box: Box, api: str, code: str) -> None:
    account = box.account()
    path, body, kind = (HOLDERS, HOLDER, "issuing.cardholder")
    if api == "v2":
        path, body, kind = (ACCOUNTS, account_body(), "v2.core.account")
    context = {"Stripe_Account": account} if api == "v1" else {}
    before = made(box, kind)
    fault(box, path, "slow")
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(box.call, "POST", path, dict(body), Idempotency_Key="k", **context) for _ in range(2)]
        answers = sorted((f.result() for f in both), key=lambda a: a.status_code)
    assert [a.status_code for a in answers] == [200, 409]
    assert answers[1].json()["error"]["code"] == code
    assert made(box, kind) == before + 1


def test_a_key_is_bound_to_its_account(box: Box) -> None:
    answers = [
        box.call("POST", HOLDERS, HOLDER, Stripe_Account=box.account(), Idempotency_Key="k").json() for _ in range(2)
    ]
    assert answers[0]["id"] != answers[1]["id"]
