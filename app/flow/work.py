"""One event on its way through a batch, and what rows look like to the machines."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from app.machines.events import Happening, Json
from app.machines.kernel import Object
from app.machines.story import Told
from app.store import states
from app.stripe.translate import Read, Stored


class Work(msgspec.Struct):
    """One event on its way through a batch."""

    stored: Stored
    attempts: int
    reads: tuple[Read, ...] = ()
    happenings: tuple[Happening, ...] = ()
    told: Told | None = None
    status: str = "applied"
    error: Json | None = None
    due_s: float = 0.0
    attempted: int = 0
    fetched_new: bool = False


def work_of(row: states.Row) -> Work:
    """An event on its way, from its row; one whose bytes do not open is parked before anyone looks into it."""
    unsealable = row.get("unsealable")
    return Work(
        stored=Stored(
            account_id=row["account_id"],
            event_id=row["event_id"],
            source=row["source"],
            type=row["type"],
            kind=row["kind"],
            created_ms=_ms(row["created"]),
            received_ms=_ms(row["received_at"]),
            payload=row["payload"],
            fetched=row["fetched"],
        ),
        attempts=row["attempts"],
        status="applied" if unsealable is None else "parked",
        error=None if unsealable is None else {"code": "unsealable", "message": unsealable},
    )


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def held(row: states.Row) -> Object:
    """An object as the machines see it, from its row."""
    return Object(
        object_id=row["object_id"],
        kind=row["kind"],
        state=row["state"],
        data=row["data"],
        observed_at=_ms(row["observed_at"]),
        version=row["version"],
    )


def named(happenings: tuple[Happening, ...]) -> Iterable[str]:
    """Ids of the objects that folding these happenings may look at."""
    for happening in happenings:
        for name in ("object_id", "enrollment_id", "request_id"):
            value = getattr(happening, name, None)
            if isinstance(value, str):
                yield value
        intent = getattr(happening, "intent", None)
        if isinstance(intent, str):
            yield intent.removeprefix("enroll/")
