"""Reading JSON of any shape without raising: what is not there, or is something else, is absent."""

from typing import Any


def id_of(value: object) -> str | None:
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) else None


def at(value: object, *path: str) -> Any:
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
