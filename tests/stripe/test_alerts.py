"""Health events become one alert per ``alert_id``, whatever the body lacks or holds."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.machines.events import Observed
from app.stripe import alerts, translate
from app.stripe.translate import Poisoned, Stored

TYPE = "v2.core.health.issuing_authorization_request_timeout.firing"
DATA = {
    "alert_id": "alrt_1",
    "grouping_key": "g",
    "summary": "Requests timed out.",
    "started_at": "2026-11-24T10:00:00Z",
    "impact": {"approved_amount": {"value": 500, "currency": "usd"}, "declined_impacted_requests": 3, "who": "Ana"},
}


def stored(body: dict[str, Any], fetched: dict[str, Any] | None = None, event_type: str = TYPE) -> Stored:
    return Stored(
        account_id="acct_platform",
        event_id="evt_1",
        source="webhook",
        type=event_type,
        kind="thin",
        created_ms=1_790_000_000_000,
        received_ms=1_790_000_000_500,
        payload=json.dumps(body).encode(),
        fetched=fetched,
    )


def test_a_pushed_event_is_read_for_its_data_and_one_with_data_is_not() -> None:
    (read,) = translate.reads(stored({"context": None}), vocabulary="money_manager")
    assert (read.url, read.context) == ("/v2/core/events/evt_1", None)
    assert translate.reads(stored({"data": DATA}), vocabulary="money_manager") == ()


@pytest.mark.parametrize(
    "event", [stored({"data": DATA}), stored({}, {"/v2/core/events/evt_1": {"at": 1, "object": {"data": DATA}}})]
)
def test_both_readings_are_the_same_alert_without_unlisted_fields(event: Stored) -> None:
    (seen,) = translate.happenings(event)
    assert isinstance(seen, Observed)
    assert (seen.kind, seen.object_id, seen.status) == ("health_alert", "alrt_1", "firing")
    assert (seen.fields["alarm"], seen.fields["severity"]) == ("issuing_authorization_request_timeout", "critical")
    assert seen.fields["impact"] == {
        "approved_amount": {"value": 500, "currency": "usd"},
        "declined_impacted_requests": 3,
    }


def test_without_data_the_event_is_parked_with_its_reason() -> None:
    with pytest.raises(Poisoned) as refused:
        translate.happenings(stored({}))
    assert refused.value.code == "no_object"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda c: st.lists(c) | st.dictionaries(st.text(), c),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*DATA, "resolved_at"]), JSON))
def test_any_shape_of_data_is_observed_and_can_be_kept(data: dict[str, Any]) -> None:
    seen = alerts.observe(TYPE, "evt_1", data, 0)
    assert seen.object_id
    assert "\\u0000" not in json.dumps(seen.fields)
