"""How values stand on a page: times in UTC with their age, money, JSON. Pure; made into filters of the templates."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from starlette.requests import Request

from app.web.console.notes import FIELDS as DONE_FIELDS

_STEPS = ((60, 1, "s"), (3_600, 60, "min"), (86_400, 3_600, "h"))


def moment(value: object) -> datetime | None:
    """A time of the API: RFC 3339, or a time itself. None for none."""
    if isinstance(value, str) and value:
        return datetime.fromisoformat(value)
    return value if isinstance(value, datetime) else None


def clock(value: object) -> str:
    """``2026-11-24 03:12:09Z``."""
    at = moment(value)
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def iso(value: object) -> str:
    """For the ``datetime`` attribute."""
    at = moment(value)
    return "" if at is None else at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def age(value: object, now_ms: int) -> str:
    """``3 min ago``, ``in 2 h``."""
    at = moment(value)
    if at is None:
        return ""
    seconds = now_ms / 1000 - at.timestamp()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def span(seconds: float) -> str:
    """A length of time in its largest fitting unit."""
    for below, unit_s, name in _STEPS:
        if seconds < below:
            return f"{int(seconds // unit_s)} {name}"
    return f"{int(seconds // 86_400)} d"


def money(value: object) -> str:
    """``1,234.50 USD`` of ``{value, currency}``, whose value is in hundredths."""
    if not isinstance(value, Mapping) or not isinstance(value.get("value"), int):
        return ""
    return cents(value["value"], value.get("currency"))


def cents(value: int, currency: object) -> str:
    whole, part = divmod(abs(value), 100)
    return f"{'-' if value < 0 else ''}{whole:,}.{part:02} {str(currency or '').upper()}".strip()


def pretty(value: object) -> str:
    """JSON, indented; a text as it is."""
    if isinstance(value, str):
        return value
    option = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z
    return orjson.dumps(value, default=str, option=option).decode()


def spaced(value: object) -> str:
    """``create_outbound_payment`` as words."""
    return str(value).replace("_", " ")


_GOOD = "live active applied settled approved open posted finished ok succeeded complete closed_won captured"
_BAD = "parked rejected restricted failed wrong declined unknown returned canceled disabled firing"
_BUSY = "pending in_flight running funding verifying onboarding planned warning processing requested"
_TONES = {s: tone for tone, states in (("good", _GOOD), ("bad", _BAD), ("busy", _BUSY)) for s in states.split()}


def tone(state: object) -> str:
    """Which colour a state has: good, bad, busy or plain. The word itself always stands beside it."""
    return _TONES.get(str(state), "plain")


def from_ms(value: int) -> datetime:
    return datetime.fromtimestamp(value / 1000, UTC)


def segment(value: object) -> str:
    """One segment of a path, whatever stands in it."""
    return quote(str(value), safe="")


def with_query(request: Request, **changes: str | None) -> str:
    """The present page's address with other members of its query; None takes one out."""
    query = {**request.query_params, **changes}
    kept = {name: value for name, value in query.items() if value and name not in DONE_FIELDS}
    return f"?{urlencode(kept)}"


FILTERS: dict[str, Any] = {
    "clock": clock,
    "iso": iso,
    "age": age,
    "span": span,
    "money": money,
    "cents": cents,
    "pretty": pretty,
    "spaced": spaced,
    "tone": tone,
    "from_ms": from_ms,
    "segment": segment,
    "with_query": with_query,
}
