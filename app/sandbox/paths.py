"""Path templates to entries, in time that does not grow with their number."""

from typing import Generic, TypeVar

T = TypeVar("T")


class Paths(Generic[T]):
    """A tree by segment; a literal segment wins over a placeholder."""

    def __init__(self) -> None:
        self.below_by_part: dict[str, Paths[T]] = {}
        self.any_part: Paths[T] | None = None
        self.entries: dict[str, tuple[str, T]] = {}

    def add(self, method: str, template: str, entry: T) -> None:
        """Register an entry for a method and a template such as ``/v1/things/{id}``."""
        node = self
        for part in template.strip("/").split("/"):
            if part.startswith("{"):
                node.any_part = node.any_part or Paths()
                node = node.any_part
            else:
                node = node.below_by_part.setdefault(part, Paths())
        node.entries[method] = (template, entry)

    def find(self, method: str, path: str) -> tuple[str, T, list[str]] | None:
        """(template, entry, placeholder values), or None."""
        node, values = self, []
        for part in path.strip("/").split("/"):
            below = node.below_by_part.get(part)
            if below is None:
                below = node.any_part
                values.append(part)
            if below is None:
                return None
            node = below
        found = node.entries.get(method)
        return (*found, values) if found else None
