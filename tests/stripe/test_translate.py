"""Rows of the log into readings and happenings: what is asked for, what is understood, and what is poisoned."""

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.machines.events import ActionRequested, HoldPlaced, HoldReleased, Observed
from app.stripe.catalog import ENTRIES
from app.stripe.translate import Poisoned, Read, Stored, account_include, encode, happenings, reads, trigger

CARD: dict[str, Any] = {"object": "issuing.card", "id": "ic_1", "status": "active", "last4": "4242"}
URL = "/v2/money_management/financial_accounts/fa_1"


def stored(
    payload: object, event_type: str = "issuing_card.updated", kind: str = "snapshot", fetched: Any = None
) -> Stored:
    return Stored(
        account_id="acct_1",
        event_id="evt_1",
        source="stripe",
        type=event_type,
        kind=kind,
        created_ms=1_000,
        received_ms=2_500,
        payload=payload if isinstance(payload, bytes) else msgspec.json.encode(payload),
        fetched=fetched,
    )


def thin(
    event_type: str = "v2.money_management.financial_account.updated", *, context: object = "acct_1", url: object = URL
) -> Stored:
    related = {"id": "fa_1", "type": "v2.money_management.financial_account", "url": url}
    return stored({"id": "evt_1", "context": context, "related_object": related}, event_type, "thin")


def asked(event: Stored, vocabulary: str = "money_manager") -> tuple[Read, ...]:
    return reads(event, vocabulary=vocabulary)


def test_a_thin_event_asks_for_its_object_in_its_context() -> None:
    assert asked(thin()) == (Read(URL, "acct_1", (), "evt_1"),)


@pytest.mark.parametrize("context", [None, "", 5, ["acct_1"]])
def test_without_a_context_the_platform_itself_is_asked(context: object) -> None:
    assert [read.context for read in asked(thin(context=context))] == [None]


@pytest.mark.parametrize("vocabulary", ["storer", "money_manager"])
@pytest.mark.parametrize("named", ["storer", "money_manager"])
def test_an_account_is_asked_for_in_the_vocabulary_of_the_api_version(vocabulary: str, named: str) -> None:
    event = thin(f"v2.core.account[configuration.{named}].updated", url="/v2/core/accounts/acct_1")
    (read,) = asked(event, vocabulary)
    assert read.include == account_include(vocabulary)
    assert {f"configuration.{vocabulary}", "configuration.card_creator", "requirements", "future_requirements"} <= set(
        read.include
    )


def test_a_query_is_left_out_of_the_path() -> None:
    assert [read.url for read in asked(thin(url=f"{URL}?include=x&limit=1"))] == [URL]


def test_a_thin_twin_of_v1_is_read_below_v1() -> None:
    assert [r.url for r in asked(thin("v1.issuing_card.updated", url="/v1/issuing/cards/ic_1"))] == [
        "/v1/issuing/cards/ic_1"
    ]


@pytest.mark.parametrize(
    "event",
    [
        thin("v2.core.event_destination.ping"),
        thin("v2.money_management.payout_intent.created"),
        thin("v1.issuing_authorization.request"),
        thin("v2.never.heard"),
        stored({"data": {"object": CARD}}),
        stored(b"{", "command.settled", "internal"),
    ],
)
def test_what_needs_no_reading_asks_for_none(event: Stored) -> None:
    assert asked(event) == ()


@pytest.mark.parametrize("body", [{}, {"related_object": None}, {"related_object": "x"}, {"related_object": {}}])
def test_a_thin_event_that_names_no_object_is_about_its_account_or_parks(body: dict[str, Any]) -> None:
    assert [read.url for read in asked(stored(body, "v2.core.account.updated", "thin"))] == ["/v2/core/accounts/acct_1"]
    with pytest.raises(Poisoned) as caught:
        asked(stored(body, "v2.money_management.outbound_transfer.posted", "thin"))
    assert caught.value.code == "no_object"


def test_stripe_is_told_of_no_event_that_it_never_sent() -> None:
    assert trigger(thin()) == "evt_1"
    assert trigger(stored(b"{}", "command.settled", "internal")) is None


@pytest.mark.parametrize(("status", "heard"), [("closed", 2_500), ("pending", None), ("reversed", None)])
def test_a_closed_authorization_says_when_that_was_heard(status: str, heard: int | None) -> None:
    body = {"data": {"object": {"object": "issuing.authorization", "id": "iauth_1", "status": status}}}
    (seen,) = happenings(stored(body, "issuing_authorization.updated"))
    assert isinstance(seen, Observed)
    assert seen.fields.get("closed_heard_ms") == heard


def test_a_whole_link_to_stripe_is_as_good_as_its_path() -> None:
    assert [read.url for read in asked(thin(url=f"https://api.stripe.com{URL}"))] == [URL]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://evil.example/v2/core/accounts/acct_1",
        "//evil.example/v2/core",
        "/v2//evil.example",
        "/v2/core/../../v1/balance",
        "/v2/core/%2e%2e/balance",
        "/v2/core/accounts/acct_1\n",
        "/v2/core/accounts/acct 1",
        "/v2/core/accounts/acct_1#x",
        "/v2/core/accounts/acct_1@evil.example",
        "/v2/core/accounts/\u0430cct",
        "/v3/core/accounts/acct_1",
        "/v2",
        "/v2/",
        "v2/core/accounts/acct_1",
        "\\v2\\core",
    ],
)
def test_a_url_that_is_no_path_of_stripes_api_is_refused(url: str) -> None:
    with pytest.raises(Poisoned) as caught:
        asked(thin(url=url))
    assert caught.value.code == "bad_related_url"


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"5", b"\xff", b'{"a":"\xff"}', b'{"a":1e999}', b"[" * 100_000])
def test_a_body_that_is_no_event_is_poisoned(payload: bytes) -> None:
    with pytest.raises(Poisoned) as caught:
        asked(stored(payload, "v2.core.account.updated", "thin"))
    assert caught.value.code == "bad_json"
    with pytest.raises(Poisoned) as caught:
        happenings(stored(payload))
    assert caught.value.code == "bad_json"
    assert caught.value.message


def test_a_snapshot_is_seen_as_of_its_event_and_is_not_sure() -> None:
    (seen,) = happenings(stored({"data": {"object": CARD}}))
    assert isinstance(seen, Observed)
    assert (seen.kind, seen.object_id, seen.status, seen.at, seen.sure) == ("card", "ic_1", "active", 1_000, False)


def test_a_thin_event_says_nothing_until_it_is_read() -> None:
    assert happenings(thin()) == ()


def test_a_kept_reading_is_sure_and_as_of_its_reading() -> None:
    event = msgspec.structs.replace(thin(), fetched={"/v1/issuing/cards/ic_1": {"object": CARD, "at": 3_000}})
    (seen,) = happenings(event)
    assert isinstance(seen, Observed)
    assert (seen.object_id, seen.at, seen.sure) == ("ic_1", 3_000, True)


@pytest.mark.parametrize("at", [None, "soon", True, 1.5])
def test_a_reading_without_its_time_is_as_of_its_receipt(at: object) -> None:
    (seen,) = happenings(stored({}, "v2.never.heard", "thin", {"url": {"object": CARD, "at": at}}))
    assert isinstance(seen, Observed)
    assert seen.at == 2_500


def test_a_reading_of_what_is_gone_or_unknown_says_nothing() -> None:
    fetched = {"a": None, "b": {"object": None}, "c": {"error": 404}, "d": {"object": {"object": "charge", "id": "x"}}}
    assert happenings(stored({}, "v2.never.heard", "thin", fetched)) == ()


@pytest.mark.parametrize("event_type", ["balance.available", "charge.succeeded", "issuing_authorization.request"])
def test_a_snapshot_that_is_not_followed_says_nothing(event_type: str) -> None:
    assert happenings(stored({"data": {"object": CARD}}, event_type)) == ()


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({}, "no_object"),
        ({"data": None}, "no_object"),
        ({"data": {"object": "ic_1"}}, "no_object"),
        ({"data": {"object": {"object": "issuing.card"}}}, "unknown_object"),
        ({"data": {"object": {"object": "charge", "id": "ch_1"}}}, "unknown_object"),
    ],
)
def test_a_snapshot_without_its_object_is_poisoned(payload: object, code: str) -> None:
    with pytest.raises(Poisoned) as caught:
        happenings(stored(payload))
    assert caught.value.code == code


def test_an_internal_event_comes_back_as_it_was_written_objects_last() -> None:
    ours = (
        HoldPlaced(by="ana", reason="audit", at=5),
        HoldReleased(by="ana", reason="done", at=6),
        ActionRequested(request_id="req_1", action="freeze_card", params={"card": "ic_1"}, at=7),
    )
    payload = encode(ours, [(CARD, 8), ({"object": "charge", "id": "ch_1"}, 9)])
    *first, seen = happenings(stored(payload, "action.requested", "internal"))
    assert tuple(first) == ours
    assert isinstance(seen, Observed)
    assert (seen.object_id, seen.at, seen.sure) == ("ic_1", 8, True)


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"happenings":[{"type":"Unheard"}]}', b'{"objects":[{}]}', b"\xff"])
def test_an_internal_event_that_cannot_be_read_is_poisoned(payload: bytes) -> None:
    with pytest.raises(Poisoned) as caught:
        happenings(stored(payload, "action.requested", "internal"))
    assert caught.value.code == "bad_internal_event"


def test_an_internal_event_of_endless_depth_is_poisoned() -> None:
    payload = b'{"objects":[{"at":1,"object":' + b'{"a":' * 100_000
    with pytest.raises(Poisoned, match="cannot be read"):
        happenings(stored(payload, "action.requested", "internal"))


def test_no_nul_gets_through_by_any_way() -> None:
    raw = {**CARD, "status": "act\x00ive", "last4": "4\x002", "metadata": {"k\x00": ["v\x00", {"deep\x00": "\x00"}]}}
    ways = (
        stored({"data": {"object": raw}}),
        stored({}, "v2.never.heard", "thin", {"url": {"object": raw, "at": 1}}),
        stored(encode((), [(raw, 1)]), "command.settled", "internal"),
    )
    for event in ways:
        (seen,) = happenings(event)
        assert b"\\u0000" not in msgspec.json.encode(seen)
        assert isinstance(seen, Observed)
        assert seen.status == "act\ufffdive"


def test_an_id_with_a_nul_names_nothing() -> None:
    with pytest.raises(Poisoned) as caught:
        happenings(stored({"data": {"object": {**CARD, "id": "ic_\x00"}}}))
    assert caught.value.code == "unknown_object"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3)
        | st.fixed_dictionaries({}, optional={"object": inner, "data": inner, "related_object": inner, "url": inner})
        | st.fixed_dictionaries({"object": st.just("issuing.card"), "id": st.text()}, optional={"status": inner})
        | st.fixed_dictionaries({"happenings": st.lists(inner), "objects": st.lists(inner)})
    ),
    max_leaves=10,
)
payloads = st.binary() | json_values.map(lambda value: value if isinstance(value, dict) else {"data": value})
types = st.sampled_from(sorted(ENTRIES)) | st.text()
fetched_values = st.none() | st.dictionaries(st.text(), json_values, max_size=3)


@given(payloads, types, st.sampled_from(["snapshot", "thin", "internal", "other"]), fetched_values)
def test_nothing_but_poison_is_raised(payload: Any, event_type: str, kind: str, fetched: dict[str, Any] | None) -> None:
    try:
        body = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    except (OverflowError, msgspec.EncodeError):
        body = b"99999999999999999999999999"
    event = stored(body, event_type, kind, fetched)
    for translate in (asked, happenings):
        with contextlib.suppress(Poisoned):
            translate(event)


@pytest.mark.parametrize(("event", "funds"), [("funds_reinstated", "reinstated"), ("funds_rescinded", "rescinded")])
@pytest.mark.parametrize("style", ["snapshot", "thin"])
def test_where_disputed_money_went_is_told_by_the_events_type_alone(event: str, funds: str, style: str) -> None:
    dispute = {"object": "issuing.dispute", "id": "idp_1", "status": "submitted", "transaction": "ipi_1"}
    if style == "snapshot":
        said = stored({"data": {"object": dispute}}, f"issuing_dispute.{event}")
    else:
        fetched = {"/v1/issuing/disputes/idp_1": {"at": 2_000, "object": dispute}}
        said = stored({"id": "evt_1"}, f"v1.issuing_dispute.{event}", "thin", fetched)
    (seen,) = happenings(said)
    assert isinstance(seen, Observed)
    assert (seen.status, seen.fields["funds"]) == ("submitted", funds)
