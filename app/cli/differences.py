"""How what a rebuild found is shown on a terminal: only what differs, a line each."""

from collections.abc import Iterator
from typing import Any


def in_words(found: dict[str, Any]) -> dict[str, Any]:
    """The report of one account or of all, with its differences as lines."""
    told = dict(found)
    if "differences" in told:
        told["differences"] = "\n".join(_lines(found))
    if "differing" in told:
        told["differing"] = "\n".join(f"{one['account']} {line}" for one in found["differing"] for line in _lines(one))
    return {name: value for name, value in told.items() if value != ""}


def _lines(report: dict[str, Any]) -> Iterator[str]:
    for one in report["differences"]:
        for path, stored, rebuilt in _apart(one["what"], one["stored"], one["rebuilt"]):
            yield f"{path}: stored {stored}, the log says {rebuilt}"
    yield from (f"cannot be read: {name}" for name in report.get("unreadable", ()))


def _apart(path: str, stored: Any, rebuilt: Any) -> Iterator[tuple[str, Any, Any]]:
    """The innermost members that differ."""
    if isinstance(stored, dict) and isinstance(rebuilt, dict):
        for name in sorted({*stored, *rebuilt}):
            yield from _apart(f"{path}.{name}", stored.get(name), rebuilt.get(name))
    elif stored != rebuilt:
        yield path, stored, rebuilt
