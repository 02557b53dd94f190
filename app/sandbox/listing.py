"""Lists in both styles: v1 cursors with ``has_more``, v2 pages by a token that holds the filters."""

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import quote

import orjson

from app.sandbox.calls import Answer, Call, Json
from app.sandbox.clock import parse
from app.sandbox.errors import invalid, not_found

LIMIT_MAX = 100


def limit_of(params: Json, default: int) -> int:
    """The ``limit`` asked for, or ApiError 400."""
    text = params.get("limit", default)
    try:
        limit = int(text)
    except (TypeError, ValueError):
        limit = 0
    if not 1 <= limit <= LIMIT_MAX:
        raise invalid("limit must be between 1 and 100", param="limit")
    return limit


def v1(call: Call, items: Sequence[Any], matches: Callable[[Any], bool], show: Callable[[Any], Json]) -> Answer:
    """A v1 list of ``items`` (oldest first), newest first."""
    limit = limit_of(call.params, 10)
    after, before = call.params.get("starting_after"), call.params.get("ending_before")
    rows = [item for item in reversed(items) if matches(item)]
    if after or before:
        at = next((i for i, item in enumerate(rows) if item.id == (after or before)), None)
        if at is None:
            raise not_found("object", str(after or before), "v1")
        rows = rows[at + 1 :] if after else rows[max(0, at - limit) : at]
    more = len(rows) > limit
    return Answer(
        body={"object": "list", "url": call.path, "has_more": more, "data": [show(item) for item in rows[:limit]]}
    )


def v2(call: Call, items: Sequence[Any], matches: Callable[[Any], bool], show: Callable[[Any], Json]) -> Answer:
    """A v2 list; the token fixes the filters, so ``call.params`` must have been taken from it (``unpaged``)."""
    limit = limit_of(call.params, 20)
    rows: Iterable[Any] = (item for item in reversed(items) if matches(item))
    after = call.params.get("_after")
    found: list[Any] = []
    more = False
    for item in rows:
        if after is not None:
            if item.id == after:
                after = None
            continue
        if len(found) == limit:
            more = True
            break
        found.append(item)
    token = _token({**call.params, "_after": found[-1].id}) if more else None
    return Answer(
        body={
            "data": [show(item) for item in found],
            "next_page_url": f"{call.path}?page={quote(token)}" if token else None,
            "previous_page_url": None,
        }
    )


def unpaged(params: Json) -> Json:
    """The filters of the first page, when ``params`` is a page token."""
    token = params.get("page")
    if token is None:
        return params
    try:
        found = orjson.loads(base64.urlsafe_b64decode(str(token)))
    except (binascii.Error, ValueError) as error:
        raise invalid("Invalid page token", param="page") from error
    return dict(found)


def _token(params: Json) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(params)).decode()


def within(at: float, params: Json) -> bool:
    """Whether a moment satisfies ``created`` filters: v1 ints, v2 RFC 3339, nested or flat (``created_gte``)."""
    created = params.get("created")
    bounds = dict(created) if isinstance(created, dict) else {}
    if created is not None and not bounds:
        return int(at) == int(_moment(created))
    bounds |= {op: params[f"created_{op}"] for op in ("gt", "gte", "lt", "lte") if f"created_{op}" in params}
    tests = {"gt": float.__gt__, "gte": float.__ge__, "lt": float.__lt__, "lte": float.__le__}
    return all(tests[op](at, _moment(value)) for op, value in bounds.items() if op in tests)


def _moment(value: Any) -> float:
    text = str(value)
    try:
        return float(text) if text.isdigit() else parse(text)
    except ValueError as error:
        raise invalid(f"Invalid timestamp: {text}", param="created") from error


def wanted(params: Json, name: str) -> set[str] | None:
    """A filter that may be one value or several; None when absent."""
    value = params.get(name)
    if value is None:
        return None
    return set(value) if isinstance(value, list) else {str(value)}
