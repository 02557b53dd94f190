"""What an event is, in both styles: as pushed and as fetched."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from app.sandbox.calls import Call, Json, Record
from app.sandbox.vocabulary import event_data_out, event_type_out

URLS = {
    "v2.core.account": "/v2/core/accounts/{id}",
    "v2.core.event_destination": "/v2/core/event_destinations/{id}",
}


@dataclass(slots=True)
class Event:
    """One thing that happened. ``type`` and ``data`` are in the new words; ``rendered`` is a snapshot's object."""

    id: str
    type: str
    style: str
    account: str
    at: float
    body: Json
    object_id: str
    data: Json | None = None
    changes: Json | None = None
    snapshot_event: str | None = None
    deliveries: dict[str, str] = field(default_factory=dict)

    def pushed(self, version: str) -> bytes:
        """The bytes a destination gets."""
        return orjson.dumps({**self.body, "type": event_type_out(self.type, version)})

    def fetched(self, version: str) -> Json:
        """The form the events API gives."""
        body = {**self.body, "type": event_type_out(self.type, version)}
        if self.style == "thin":
            body["data"] = event_data_out(self.data, version)
            body["changes"] = self.changes
            if self.snapshot_event:
                body["snapshot_event"] = self.snapshot_event
        return body

    @property
    def undelivered(self) -> bool:
        """Whether a destination has not acknowledged it."""
        return any(state != "delivered" for state in self.deliveries.values())


def reason(cause: Call | None) -> Json | None:
    if cause is None:
        return None
    return {"type": "request", "request": {"id": cause.request_id, "idempotency_key": cause.idempotency_key}}


def related(record: Record) -> dict[str, Any]:
    tag = record.kind
    if tag == "v2.core.account_person":
        url = f"/v2/core/accounts/{record.account}/persons/{record.id}"
    elif tag.startswith("issuing."):
        url = f"/v1/issuing/{tag.partition('.')[2]}s/{record.id}"
    elif tag in URLS:
        url = URLS[tag].format(id=record.id)
    else:
        noun = tag.rpartition(".")[2]
        plural = noun[:-1] + "ies" if noun.endswith("y") else noun + ("es" if noun.endswith("ss") else "s")
        url = f"/v2/money_management/{plural}/{record.id}"
    return {"id": record.id, "type": tag, "url": url}
