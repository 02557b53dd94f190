"""The law that all object machines share: what one observation makes of the state we hold.

A machine is a table: its states, and for each the states Stripe may move it to. Stripe promises no order, so a status
reachable from the present one is a move (skipping is allowed), one from which the present is reachable is stale, and
where both hold (a cycle) the later observation wins. Anything else is refused and the object must be read again.
Only data in, only values out: no clock, no I/O.
"""

from collections.abc import Mapping
from functools import cached_property

import msgspec

from app.machines.events import Json, Observed


class Object(msgspec.Struct, frozen=True, kw_only=True):
    """What we hold of one Stripe object. ``observed_at`` in milliseconds; ``sure`` as in :class:`Observed`."""

    object_id: str
    kind: str
    state: str
    data: Json
    observed_at: int
    sure: bool = False
    version: int = 1


class Step(msgspec.Struct, frozen=True):
    """The observation counts: ``after`` replaces what we held; ``moved`` says whether the state changed."""

    after: Object
    before: str | None
    moved: bool


class Ignored(msgspec.Struct, frozen=True):
    """The observation says nothing new: a duplicate, or older than what we hold."""

    reason: str


class Refused(msgspec.Struct, frozen=True):
    """No declared move leads there: read the live object, and let that reading win."""

    reason: str


Outcome = Step | Ignored | Refused


class Machine:
    """One kind of object: its states and moves, declared as a table ``{state: (next, ...)}``.

    A state with no moves is terminal. ``any_of`` kinds (``open_ended``) keep statuses that the table lacks, since
    Stripe's enums are open: such a status is taken as it comes, by time. ``parts`` are fields with a life of their own
    within the object (a card's shipping), each with its own machine: snapshots of one second cannot turn them back.
    """

    def __init__(
        self,
        kind: str,
        moves: Mapping[str, tuple[str, ...]],
        *,
        doc: str,
        parts: Mapping[str, "Machine"] | None = None,
    ) -> None:
        self.kind = kind
        self.moves = moves
        self.doc = doc
        self.parts = dict(parts or {})

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(self.moves)

    @cached_property
    def _reach(self) -> dict[str, frozenset[str]]:
        return {state: frozenset(self._walk(state)) for state in self.moves}

    def _walk(self, start: str) -> set[str]:
        seen: set[str] = set()
        todo = list(self.moves[start])
        while todo:
            state = todo.pop()
            if state not in seen:
                seen.add(state)
                todo.extend(self.moves[state])
        return seen

    def reaches(self, start: str, end: str) -> bool:
        """Whether declared moves lead from ``start`` to ``end`` (in one step or many)."""
        return end in self._reach.get(start, frozenset())

    def terminal(self, state: str) -> bool:
        return not self.moves.get(state)

    def step(self, held: Object | None, seen: Observed) -> Outcome:
        """What this observation makes of what we hold."""
        if held is None:
            return Step(self._taken(None, seen), None, moved=True)
        if seen.status == held.state:
            return self._same(held, seen)
        if seen.status not in self.moves or held.state not in self.moves:
            return self._later_wins(held, seen)
        forward, backward = self.reaches(held.state, seen.status), self.reaches(seen.status, held.state)
        if forward and backward:
            return self._later_wins(held, seen)
        if forward:  # within one second the move itself tells which is later
            return Step(self._taken(held, seen, later=_tied(held, seen)), held.state, moved=True)
        if backward:
            return Ignored(f"stale: {seen.status} comes before {held.state}")
        if seen.sure and seen.at >= held.observed_at:
            return Step(self._taken(held, seen), held.state, moved=True)
        return Refused(f"no move leads from {held.state} to {seen.status}")

    def before(self, earlier: str | None, later: str | None) -> bool:
        """Whether ``earlier`` surely comes before ``later``: declared moves lead one way only."""
        known = earlier is not None and later is not None and earlier != later
        return known and self.reaches(str(earlier), str(later)) and not self.reaches(str(later), str(earlier))

    def part_moves(self, before: Object | None, after: Object) -> list[tuple[str, str | None, str]]:
        """Which parts moved between the two: ``(name, from, to)``."""
        found = []
        for name in self.parts:
            was = part_state(before.data.get(name)) if before is not None else None
            now = part_state(after.data.get(name))
            if now is not None and now != was:
                found.append((name, was, now))
        return found

    def _further(self, held: Object, seen: Observed) -> bool:
        """Whether some part is surely further on than it is held, whatever the times say."""
        return any(
            machine.before(part_state(held.data.get(name)), part_state(seen.fields.get(name)))
            for name, machine in self.parts.items()
        )

    def _taken(self, held: Object | None, seen: Observed, *, later: bool = False) -> Object:
        """What we hold after the observation: the later fields win, and of each part the state further on.

        ``later`` says that the observation is the later one, whatever the times say.
        """
        if held is None:
            return Object(
                object_id=seen.object_id,
                kind=seen.kind,
                state=seen.status,
                data=seen.fields,
                observed_at=seen.at,
                sure=seen.sure,
            )
        older = seen.at < held.observed_at and not later
        data = {**seen.fields, **held.data} if older else {**held.data, **seen.fields}
        for name, machine in self.parts.items():
            was, now = held.data.get(name), seen.fields.get(name)
            if machine.before(part_state(now), part_state(was)):
                data[name] = was
            elif machine.before(part_state(was), part_state(now)):
                data[name] = now
        return msgspec.structs.replace(
            held,
            state=seen.status,
            data=data,
            observed_at=max(seen.at, held.observed_at),
            sure=seen.sure,
            version=held.version + 1,
        )

    def _same(self, held: Object, seen: Observed) -> Outcome:
        known = all(held.data.get(k) == v for k, v in seen.fields.items())
        if known and not (seen.sure and seen.at > held.observed_at):
            return Ignored("nothing new")
        if seen.at < held.observed_at and not self._further(held, seen):
            return Refused("it was read in the second of this snapshot") if _tied(held, seen) else Ignored("older")
        return Step(self._taken(held, seen), held.state, moved=False)

    def _later_wins(self, held: Object, seen: Observed) -> Outcome:
        if seen.at > held.observed_at:
            return Step(self._taken(held, seen), held.state, moved=True)
        if seen.at < held.observed_at and not _tied(held, seen):
            return Ignored(f"stale: {seen.status} was seen before {held.state}")
        return Refused(f"{seen.status} and {held.state} were seen in one moment")


def part_state(value: object) -> str | None:
    """The state of a part: the word itself, or its ``status``."""
    word = value.get("status") if isinstance(value, dict) else value
    return word if isinstance(word, str) else None


def _tied(held: Object, seen: Observed) -> bool:
    """Whether a snapshot, which knows whole seconds only, may be later than what was read within its second."""
    return not seen.sure and seen.at % 1000 == 0 and seen.at < held.observed_at < seen.at + 1000
