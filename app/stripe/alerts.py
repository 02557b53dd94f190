"""Stripe's health events as observations of an alert: ``alert_id`` is what firing and resolved have in common.

The pushed event holds no data, so the event itself is read (``GET /v2/core/events/{id}``); a body that came with data is
taken as it is. Fields are a whitelist: words of Stripe's, times, counts and amounts, and what an event failed to tell.
"""

from typing import Any

from app.machines.events import Observed
from app.machines.health_alert import severity

PREFIX = "v2.core.health."
SUMMARY_MAX = 500


def data_of(event: object) -> dict[str, Any] | None:
    """The data of a health event, if this is one that carries it."""
    data = event.get("data") if isinstance(event, dict) else None
    return data if isinstance(data, dict) and data else None


def observe(event_type: str, event_id: str, data: dict[str, Any], at_ms: int) -> Observed:
    """What the event says of its alert, at ``at_ms``. Whatever is missing is absent; never raises."""
    alarm, _, state = event_type.removeprefix(PREFIX).rpartition(".")
    grouping = _text(data.get("grouping_key"))
    fields: dict[str, object] = {
        "alarm": alarm,
        "severity": severity(alarm),
        "grouping_key": grouping,
        "summary": _text(data.get("summary")),
        "started_at": _text(data.get("started_at")),
        "resolved_at": _text(data.get("resolved_at")),
        "impact": _impact(data.get("impact")),
    }
    known = {name: value for name, value in fields.items() if value}
    alert = _text(data.get("alert_id")) or (f"{alarm}/{grouping}" if grouping else event_id)
    return Observed(kind="health_alert", object_id=alert, status=state, at=at_ms, fields=known, sure=False)


def _impact(impact: object) -> dict[str, object]:
    if not isinstance(impact, dict):
        return {}
    found: dict[str, object] = {k: v for k, v in impact.items() if isinstance(v, int | float)}
    for name, value in impact.items():
        if isinstance(value, dict) and isinstance(value.get("value"), int):
            found[name] = {"value": value["value"], "currency": _text(value.get("currency"))}
    related = impact.get("related_object")
    if isinstance(related, dict):
        found["related_object"] = {k: _text(related.get(k)) for k in ("id", "type", "url")}
    return found | {k: text for k in ("context", "event_type") if (text := _text(impact.get(k)))}


def _text(value: object) -> str | None:
    return value.replace("\x00", "")[:SUMMARY_MAX] if isinstance(value, str) and value else None
