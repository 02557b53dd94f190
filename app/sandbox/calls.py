"""One API call as handlers see it, and what they give back."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(slots=True)
class Record:
    """An object of the world: whose it is, its public fields, and what the API never shows."""

    kind: str
    id: str
    account: str
    data: Json
    hidden: Json = field(default_factory=dict)


@dataclass(slots=True)
class Call:
    """A request that passed the door. ``params`` holds the body of a write or the query of a read."""

    method: str
    path: str
    api: str
    account: str
    version: str
    params: Json
    ids: list[str]
    request_id: str = ""
    idempotency_key: str | None = None


@dataclass(slots=True)
class Answer:
    """A success: a record to render for the caller's version, or a finished body."""

    record: Record | None = None
    body: Json | None = None


Handler = Callable[..., "Answer | Awaitable[Answer]"]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and path template; ``shape`` is the SDK's parameter type the body must have, ``extras`` what it lacks."""

    method: str
    template: str
    handler: Handler
    shape: str | None = None
    extras: frozenset[str] = frozenset()
    prepare: Callable[[Json, str], Json] | None = None
