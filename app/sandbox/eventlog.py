"""The log of all events, which hands each to the dispatcher."""

import time

import orjson

from app.sandbox.calls import Call, Json, Record
from app.sandbox.clock import Ids, rfc3339
from app.sandbox.events import Event, reason, related
from app.sandbox.settings import SandboxSettings
from app.sandbox.webhooks import Destination, Dispatcher


class EventLog:
    """The log; v1 and v2 lists are read from it, newest first."""

    def __init__(self, settings: SandboxSettings, ids: Ids, webhooks: Dispatcher) -> None:
        self._settings, self._ids, self._webhooks = settings, ids, webhooks
        self.thin_twins = settings.thin_twins
        self.by_id: dict[str, Event] = {}
        self.by_account: dict[tuple[str, str], list[Event]] = {}

    def thin(
        self,
        name: str,
        record: Record,
        context: str | None,
        *,
        data: Json | None = None,
        changes: Json | None = None,
        cause: Call | None = None,
        snapshot_event: str | None = None,
    ) -> Event:
        """Record and send a thin event."""
        now = time.time()
        ident = self._ids.new("evt_test_")
        account = context or self._settings.platform_account
        body: Json = {
            "id": ident,
            "object": "v2.core.event",
            "type": name,
            "created": rfc3339(now),
            "livemode": False,
            "context": context,
            "related_object": None if record.kind == "v2.core.account_link" else related(record),
            "reason": reason(cause),
        }
        event = Event(ident, name, "thin", account, now, body, record.id, data, changes, snapshot_event)
        return self._happened(event)

    def snapshot(self, name: str, record: Record, *, previous: Json | None, cause: Call | None) -> Event:
        """Record and send a snapshot event; with ``thin_twins``, its thin twin too."""
        now = time.time()
        ident = self._ids.new("evt_")
        data: Json = {"object": orjson.Fragment(orjson.dumps(record.data))}
        if previous is not None:
            data["previous_attributes"] = previous
        event = Event(
            ident, name, "snapshot", record.account, now, self._body(ident, name, record, now, data), record.id
        )
        if cause is not None:
            event.body["request"] = {"id": cause.request_id, "idempotency_key": cause.idempotency_key}
        self._happened(event)
        if self.thin_twins:
            context = None if record.account == self._settings.platform_account else record.account
            self.thin(f"v1.{name}", record, context, cause=cause, snapshot_event=ident)
        return event

    def request(self, record: Record, rendered: Json) -> tuple[str, bytes]:
        """The body of the synchronous ``issuing_authorization.request``; it is not kept and never retried."""
        ident = self._ids.new("evt_")
        body = self._body(ident, "issuing_authorization.request", record, time.time(), {"object": rendered})
        return ident, orjson.dumps(body)

    def _body(self, ident: str, name: str, record: Record, now: float, data: Json) -> Json:
        body: Json = {
            "id": ident,
            "object": "event",
            "api_version": self._settings.api_version,
            "created": int(now),
            "data": data,
            "livemode": False,
            "pending_webhooks": self._webhooks.count("snapshot"),
            "request": {"id": None, "idempotency_key": None},
            "type": name,
        }
        if record.account != self._settings.platform_account:
            body["account"] = record.account
            body["context"] = record.account
        return body

    def _happened(self, event: Event) -> Event:
        self.by_id[event.id] = event
        self.by_account.setdefault((event.style, event.account), []).append(event)
        self._webhooks.send(event)
        return event

    def health(self, alarm: str, state: str, data: Json) -> Event:
        """A health event of the platform: about no object."""
        now, ident = time.time(), self._ids.new("evt_test_")
        name, account = f"v2.core.health.{alarm}.{state}", self._settings.platform_account
        body: Json = {
            "id": ident,
            "object": "v2.core.event",
            "type": name,
            "created": rfc3339(now),
            "livemode": False,
            "context": None,
            "related_object": None,
            "reason": None,
        }
        return self._happened(Event(ident, name, "thin", account, now, body, str(data["alert_id"]), data))

    def ping(self, destination: Destination, record: Record) -> Event:
        """The event of a ping, sent to this destination alone."""
        event = Event(
            self._ids.new("evt_test_"),
            "v2.core.event_destination.ping",
            "thin",
            record.account,
            time.time(),
            {},
            record.id,
        )
        event.body = {
            "id": event.id,
            "object": "v2.core.event",
            "type": event.type,
            "created": rfc3339(event.at),
            "livemode": False,
            "context": None,
            "related_object": related(record),
            "reason": None,
        }
        self.by_id[event.id] = event
        self.by_account.setdefault(("thin", event.account), []).append(event)
        self._webhooks.deliver(event, destination)
        return event
