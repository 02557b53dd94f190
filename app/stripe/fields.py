"""Reading JSON of any shape without raising: what is not there, or is something else, is absent."""

from typing import Any
from urllib.parse import urlsplit


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


def path_of(link: str) -> str:
    """Path and query of a link of Stripe's, relative or whole: the key goes to the one address that is set, never elsewhere."""
    split = urlsplit(link)
    path = "/" + split.path.lstrip("/")
    return f"{path}?{split.query}" if split.query else path
