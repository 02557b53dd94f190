"""Event destinations at Stripe against our catalogue: what must reach us, in which style and scope. Pure.

A destination has one payload style; v2 resources come thin only, v1 resources as snapshots. ``events_from`` is set at
creation: ``@self`` are the platform's own events, ``@accounts`` those of its connected accounts. Nothing but
``issuing_authorization.request`` goes to the real-time endpoint, and that goes nowhere else. (Source: Stripe's webhook
docs, event destinations.)
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from app.stripe import catalog
from app.stripe.requests import Request, storer

PATH = "/v2/core/event_destinations"
CLASSIC_PATH = "/v1/webhook_endpoints"
INCLUDE = ["webhook_endpoint.url", "webhook_endpoint.signing_secret"]
DOOR = "/webhooks/stripe"
SCOPES = ("@self", "@accounts")
STYLES = ("thin", "snapshot")
PING = "v2.core.event_destination.ping"
"""Sent by the one call that asks for it; nobody subscribes to it."""

Row = Mapping[str, Any]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do at Stripe. ``types`` are those that the destination brings afterwards; ``missing`` the new ones."""

    action: Literal["create", "update", "enable"]
    style: str
    scope: str
    url: str
    id: str | None = None
    types: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def named(self, message: str) -> tuple[str, ...]:
        """The new types that a refusal of Stripe's names."""
        words = {word.rstrip(".") for word in re.findall(r"[\w.\[\]]+", message)}
        return tuple(name for name in self.missing if name in words)

    def without(self, names: Iterable[str]) -> "Step":
        """The same step, but for these types."""
        gone = set(names)
        types, missing = (tuple(n for n in given if n not in gone) for given in (self.types, self.missing))
        return msgspec.structs.replace(self, types=types, missing=missing)

    def request(self, version: str) -> Request:
        """The call that does it."""
        if self.action == "enable":
            return Request("post", f"{PATH}/{self.id}/enable", {}, None, "v2")
        if self.action == "update":
            return Request("post", f"{PATH}/{self.id}", {"enabled_events": list(self.types)}, None, "v2")
        params: dict[str, Any] = {
            "name": f"cardrail {self.style} {self.scope}",
            "type": "webhook_endpoint",
            "event_payload": self.style,
            "enabled_events": list(self.types),
            "events_from": [self.scope],
            "webhook_endpoint": {"url": self.url},
            "include": INCLUDE,
        }
        if self.style == "snapshot":
            params["snapshot_api_version"] = version
        return Request("post", PATH, params, None, "v2")


def needed(style: str, version: str, *, all_known: bool = True) -> tuple[str, ...]:
    """The types that a style must bring, in the vocabulary of ``version``; without ``all_known`` only what moves state."""
    foreign = "configuration.money_manager]" if storer(version) else "configuration.storer]"
    return tuple(
        sorted(
            name
            for name, entry in catalog.ENTRIES.items()
            if (style == "thin") == name.startswith("v2.")
            and entry.handling != "synchronous"
            and (all_known or entry.handling in ("object", "alert"))
            and foreign not in name
            and name != PING
        )
    )


def ours(rows: Iterable[Row], url: str | None) -> list[Row]:
    """The destinations that post to us: to ``url``, or where that is not known, to any webhook door of our form."""
    found = []
    for row in rows:
        at = (row.get("webhook_endpoint") or {}).get("url")
        same = not isinstance(at, str) or (at.rstrip("/") == url if url else at.rstrip("/").endswith(DOOR))
        if row.get("type") == "webhook_endpoint" and same:
            found.append(row)
    return found


def classic(endpoints: Iterable[Row]) -> list[Row]:
    """Webhook endpoints of v1 in the form of destinations: snapshots, of connected accounts where it names an application."""
    return [
        {
            "id": row.get("id"),
            "name": row.get("description"),
            "type": "webhook_endpoint",
            "status": row.get("status"),
            "event_payload": "snapshot",
            "events_from": ["@accounts"] if row.get("application") or row.get("connect") else ["@self"],
            "enabled_events": row.get("enabled_events") or [],
            "snapshot_api_version": row.get("api_version"),
            "webhook_endpoint": {"url": row.get("url")},
        }
        for row in endpoints
    ]


def is_classic(row: Row) -> bool:
    """Whether it is a webhook endpoint of v1."""
    return str(row.get("id")).startswith("we_")


def twice(rows: Sequence[Row]) -> list[tuple[Row, Row, list[str]]]:
    """Each enabled webhook endpoint of v1, an enabled destination that brings the same, and the types that come twice."""
    found = []
    live = [row for row in rows if enabled(row)]
    for old in filter(is_classic, live):
        for new in live:
            scopes = set(old["events_from"]) & set(new.get("events_from") or ["@self"])
            if is_classic(new) or new.get("event_payload") != "snapshot" or not scopes:
                continue
            ours_, theirs = set(old["enabled_events"]), set(new.get("enabled_events") or ())
            both = theirs if "*" in ours_ else ours_ if "*" in theirs else ours_ & theirs
            if both:
                found.append((old, new, sorted(both)))
    return found


def enabled(row: Row) -> bool:
    return row.get("status") in (None, "enabled")


def brings(row: Row, style: str, scope: str) -> bool:
    """Whether a destination has this style and hears of this scope."""
    return row.get("event_payload") == style and scope in (row.get("events_from") or ["@self"])


def missing(rows: Sequence[Row], style: str, scope: str, wanted: Iterable[str]) -> tuple[str, ...]:
    """The wanted types that no enabled destination of this style and scope brings."""
    heard = {
        str(t) for row in rows if enabled(row) and brings(row, style, scope) for t in row.get("enabled_events") or ()
    }
    if "*" in heard:
        return ()
    heard |= {catalog.canonical(name) for name in heard}
    return tuple(name for name in wanted if name not in heard and catalog.canonical(name) not in heard)


def plan(rows: Sequence[Row], url: str, version: str) -> list[Step]:
    """What to do so that everything reaches ``url``: enable first, then add types, then create. Empty: nothing.

    What an enabled webhook endpoint of v1 brings is not asked for again; itself it is left alone.
    """
    found, steps = ours(rows, url), []
    old = [row for row in found if is_classic(row)]
    mine = [row for row in found if not is_classic(row)]
    for row in mine:
        if not enabled(row):
            first = (row.get("events_from") or ["@self"])[0]
            steps.append(Step(action="enable", style=row["event_payload"], scope=first, url=url, id=row["id"]))
    awake = [{**row, "status": "enabled"} for row in mine]
    for style in STYLES:
        for scope in SCOPES:
            wanted = needed(style, version)
            lacking = missing([*awake, *old], style, scope, wanted)
            if not lacking:
                continue
            holder = next((row for row in awake if brings(row, style, scope)), None)
            if holder is None:
                steps.append(Step(action="create", style=style, scope=scope, url=url, types=lacking, missing=lacking))
                continue
            types = tuple(dict.fromkeys([*holder["enabled_events"], *lacking]))
            holder["enabled_events"] = list(types)
            steps.append(
                Step(action="update", style=style, scope=scope, url=url, id=holder["id"], types=types, missing=lacking)
            )
    return steps
