"""What goes wrong on purpose goes wrong as told, and nothing is lost or done twice by it."""

from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from app.sandbox import DestinationSettings
from tests.sandbox.conftest import Box, Receiver, account_body

ACCOUNTS = "/v2/core/accounts"


def once(box: Box, kind: str) -> None:
    box.control("PUT", "faults", {"targeted": [{"method": "POST", "path_prefix": ACCOUNTS, "kind": kind}]})


def test_429_says_when_to_come_back_and_does_nothing(box: Box) -> None:
    once(box, "api_429")
    answer = box.call("POST", ACCOUNTS, account_body(), Idempotency_Key="k")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert box.call("POST", ACCOUNTS, account_body(), Idempotency_Key="k").status_code == 200


def test_a_lost_reply_was_done_and_the_same_key_finds_it(box: Box) -> None:
    once(box, "reply_lost")
    with pytest.raises(httpx.RemoteProtocolError):
        box.call("POST", ACCOUNTS, account_body(), Idempotency_Key="k")
    assert box.control("GET", "requests")["created"]["v2.core.account"] == 1
    assert box.call("POST", ACCOUNTS, account_body(), Idempotency_Key="k").status_code == 200
    assert box.control("GET", "requests")["created"]["v2.core.account"] == 1


def test_with_every_webhook_fault_all_events_arrive(started: Callable[..., Box], receiver: Receiver) -> None:
    faults = {"duplicate": 0.3, "reorder": 0.3, "drop": 0.3, "delay": 0.02}
    box = started(faults=faults, destinations=(DestinationSettings(receiver.url, "whsec_x", "thin"),))
    account = box.account()
    box.fund(account, box.wallet(account))
    happened = {e["id"] for e in box.control("GET", "events")["data"] if e["style"] == "thin"}
    seen = Counter(body.split(b'"id":"', 1)[1].split(b'"', 1)[0].decode() for _, _, body in receiver.got)
    assert set(seen) == happened
    assert max(seen.values()) > 1
    assert box.control("GET", "faults")["counts"]["drop"] > 0


def test_the_same_seed_makes_the_same_world(started: Callable[..., Box]) -> None:
    ids = [started(seed=7).account() for _ in range(2)]
    assert ids[0] == ids[1]
    assert started(seed=8).account() != ids[0]


def test_an_unknown_fault_is_refused(box: Box) -> None:
    assert box.http.put("/_sandbox/faults", json={"api_418": 1}).status_code == 400
    assert box.http.put("/_sandbox/faults", json={"drop": 2}).status_code == 400


def test_by_chance_v1_fails_an_account_once_for_each_thing(box: Box) -> None:
    account = box.account()
    box.control("PUT", "faults", {"api_500": 1.0})

    def statuses(path: str) -> list[int]:
        return [
            box.call("POST", path, {}, Idempotency_Key=f"{path}{n}", Stripe_Account=account).status_code
            for n in range(3)
        ]

    assert [status == 500 for status in statuses("/v1/issuing/cardholders")] == [True, False, False]
    assert [status == 500 for status in statuses("/v1/issuing/cards")] == [True, False, False]
