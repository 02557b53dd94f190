"""Envelopes: whose event it is, what refuses a body, and never an exception on any bytes."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.stripe.envelope import Envelope, Refused, read

PLATFORM = "acct_platform"
SNAPSHOT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "issuing_card.created",
    "created": 1_790_000_123,
    "livemode": False,
}
THIN: dict[str, Any] = {
    "id": "evt_2",
    "object": "v2.core.event",
    "type": "v2.money_management.financial_account.created",
}
THIN |= {"created": "2026-10-14T09:21:07.412Z", "livemode": False}


def envelope(base: dict[str, Any], **more: Any) -> Envelope:
    found = read(json.dumps({**base, **more}).encode(), PLATFORM)
    assert isinstance(found, Envelope)
    return found


def related(type_: str, url: str, **more: str) -> dict[str, Any]:
    return {"type": type_, "related_object": {"type": "x", "url": url, **more}}


@pytest.mark.parametrize(
    ("base", "more", "account"),
    [
        (SNAPSHOT, {"account": "acct_a"}, "acct_a"),
        (SNAPSHOT, {"account": "acct_a", "context": "acct_b"}, "acct_a"),
        (SNAPSHOT, {"context": "acct_p/acct_b"}, "acct_b"),
        (SNAPSHOT, {"account": None, "context": None}, PLATFORM),
        (SNAPSHOT, {"account": 7, "context": ["x"]}, PLATFORM),
        (THIN, {"context": "acct_a"}, "acct_a"),
        (THIN, {"context": "acct_a/acct_b"}, "acct_b"),
        (THIN, {"context": None}, PLATFORM),
        (THIN, {"context": ""}, PLATFORM),
        (THIN, related("v2.core.account.updated", "/v2/core/accounts/acct_c", id="acct_c"), "acct_c"),
        (THIN, {"context": "acct_z"} | related("v2.core.account[identity].updated", "/x", id="acct_c"), "acct_c"),
        (
            THIN,
            related("v2.core.account_person.created", "/v2/core/accounts/acct_c/persons/p", id="person_1"),
            "acct_c",
        ),
        (THIN, {"type": "v2.core.account_link.returned", "related_object": None, "context": "acct_d"}, "acct_d"),
        (THIN, {"type": "v2.core.event_destination.ping", "context": None}, PLATFORM),
    ],
)
def test_whose_event_it_is(base: dict[str, Any], more: dict[str, Any], account: str) -> None:
    assert envelope(base, **more).account_id == account


def test_a_snapshot_is_read() -> None:
    found = envelope(SNAPSHOT)
    assert (found.event_id, found.type, found.kind, found.livemode) == (
        "evt_1",
        "issuing_card.created",
        "snapshot",
        False,
    )
    assert found.created == datetime.fromtimestamp(1_790_000_123, UTC)


def test_a_thin_event_is_read_with_its_twin() -> None:
    found = envelope(THIN, snapshot_event="evt_1")
    assert (found.kind, found.twin_id) == ("thin", "evt_1")
    assert found.created == datetime(2026, 10, 14, 9, 21, 7, 412_000, UTC)


def test_half_of_a_surrogate_pair_costs_no_event() -> None:
    body = json.dumps({**SNAPSHOT, "data": {"object": {"id": "ic_1", "cut": "\ud83d", "whole": "\\ud83d \U0001f600"}}})
    found = read(body.encode(), PLATFORM)
    assert isinstance(found, Envelope)
    assert found.event_id == SNAPSHOT["id"]
    named = json.dumps({**SNAPSHOT, "id": "evt_\ud83d"}).encode()
    assert read(named, PLATFORM) != found


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "body_not_json"),
        (b"\xff\xfe", "body_not_utf8"),
        (b"{", "body_not_json"),
        (b'{"a":' + b"[" * 100_000, "body_not_json"),
        (b"[]", "body_no_event"),
        (b"null", "body_no_event"),
        (b"{}", "body_no_event"),
        (b'{"object":"event"}', "body_no_event"),
        (b'{"object":"event","id":1,"type":"x","created":1790000123}', "body_no_event"),
        (b'{"object":"charge","id":"ch_1","type":"x","created":1790000123}', "body_no_event"),
        (b'{"object":"event","id":"a\\u0000b","type":"x","created":1790000123}', "event_field_unstorable"),
        (b'{"object":"event","id":"a","type":"x\\u0000","created":1790000123}', "event_field_unstorable"),
        (b'{"object":"event","id":"a","type":"x","account":"\\u0000","created":1790000123}', "event_field_unstorable"),
        (json.dumps({**SNAPSHOT, "id": "e" * 256}).encode(), "event_field_too_long"),
        *(
            (json.dumps({**SNAPSHOT, "created": c}).encode(), "event_created_invalid")
            for c in (None, True, -1, 10**30, "x")
        ),
        (json.dumps({**SNAPSHOT, "created": "9999-12-31T23:59:59-14:00"}).encode(), "event_created_invalid"),
    ],
)
def test_what_is_no_event_is_refused_with_its_code(body: bytes, code: str) -> None:
    found = read(body, PLATFORM)
    assert isinstance(found, Refused)
    assert found.code == code


def test_a_nul_elsewhere_is_kept() -> None:
    assert envelope(SNAPSHOT, data={"object": {"name": "a\0b"}}).event_id == "evt_1"


@given(st.binary())
def test_no_bytes_raise(body: bytes) -> None:
    assert isinstance(read(body, PLATFORM), Refused)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_FIELDS = ("id", "type", "created", "livemode", "account", "context", "related_object", "snapshot_event")


@given(
    st.fixed_dictionaries(
        {"object": st.sampled_from(["event", "v2.core.event"])}, optional=dict.fromkeys(_FIELDS, _JSON)
    )
)
def test_no_event_like_body_raises_and_what_is_read_can_be_stored(body: dict[str, Any]) -> None:
    found = read(json.dumps(body).encode(), PLATFORM)
    if isinstance(found, Envelope):
        for text in (found.account_id, found.event_id, found.type, found.twin_id or ""):
            assert len(text.encode()) <= 4 * 255
            assert "\0" not in text
