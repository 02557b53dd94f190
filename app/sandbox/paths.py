"""Path templates to entries, in time that does not grow with their number."""

from typing import Generic, TypeVar

T = TypeVar("T")


class Paths(Generic[T]):
    """A tree by segment; a literal segment wins over a placeholder."""

    def __init__(self) -> None:
        self._below: dict[str, Paths[T]] = {}
        self._any: Paths[T] | None = None
        self._here: dict[str, tuple[str, T]] = {}

    def add(self, method: str, template: str, entry: T) -> None:
        """Register an entry for a method and a template such as ``/v1/things/{id}``."""
        node = self
        for part in template.strip("/").split("/"):
            if part.startswith("{"):
                node._any = node._any or Paths()
                node = node._any
            else:
                node = node._below.setdefault(part, Paths())
        node._here[method] = (template, entry)

    def find(self, method: str, path: str) -> tuple[str, T, list[str]] | None:
        """(template, entry, placeholder values), or None."""
        node, values = self, []
        for part in path.strip("/").split("/"):
            below = node._below.get(part)
            if below is None:
                below = node._any
                values.append(part)
            if below is None:
                return None
            node = below
        found = node._here.get(method)
        return (*found, values) if found else None
