"""The law of all machines: every pair of states has its one outcome, and any order of delivery ends in one state."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.machines.events import Json, Observed
from app.machines.kernel import Ignored, Machine, Object, Refused, Step
from app.machines.registry import ALL, MACHINES

NOW = 1_000
UNHEARD = "a_status_of_next_year"


def closure(machine: Machine) -> set[tuple[str, str]]:
    """Which state leads to which, found in another way than the kernel's own."""
    leads = {(a, b) for a, moves in machine.moves.items() for b in moves}
    while more := {(a, d) for a, b in leads for c, d in leads if b == c} - leads:
        leads |= more
    return leads


LEADS = {machine.kind: closure(machine) for machine in ALL}
CYCLIC = [m for m in ALL if any((s, s) in LEADS[m.kind] for s in m.states)]
ACYCLIC = [m for m in ALL if m not in CYCLIC]
ROUND = [m for m in CYCLIC if all(pair in LEADS[m.kind] for pair in itertools.product(m.states, m.states))]
machines = pytest.mark.parametrize("machine", ALL, ids=lambda m: m.kind)


def held(machine: Machine, state: str, at: int = NOW, **data: object) -> Object:
    return Object(object_id="x_1", kind=machine.kind, state=state, data=data, observed_at=at, version=3)


def seen(machine: Machine, status: str, at: int = NOW, *, sure: bool = False, **fields: object) -> Observed:
    return Observed(kind=machine.kind, object_id="x_1", status=status, at=at, fields=fields, sure=sure)


def by_the_table(machine: Machine, state: str, status: str, at: int, *, sure: bool) -> type:
    """What the table's reachability says of a reading of another state."""
    leads = LEADS[machine.kind]
    declared = {state, status} <= set(machine.states)
    forward, backward = (state, status) in leads, (status, state) in leads
    if not declared or (forward and backward):
        return Step if at > NOW else Ignored if at < NOW else Refused
    if forward:
        return Step
    if backward:
        return Ignored
    return Step if sure and at >= NOW else Refused


def fold(machine: Machine, readings: Sequence[Observed], start: Object | None = None) -> Object | None:
    now = start
    for reading in readings:
        outcome = machine.step(now, reading)
        if isinstance(outcome, Step):
            now = outcome.after
    return now


@machines
def test_every_pair_of_states_has_the_outcome_that_the_table_says(machine: Machine) -> None:
    every = (*machine.states, UNHEARD)
    for state, status, at, sure in itertools.product(every, every, (NOW - 1, NOW, NOW + 1), (False, True)):
        if state == status:
            continue
        outcome = machine.step(held(machine, state), seen(machine, status, at, sure=sure))
        assert type(outcome) is by_the_table(machine, state, status, at, sure=sure), (state, status, at, sure)
        if isinstance(outcome, Step):
            assert (outcome.after.state, outcome.before, outcome.moved) == (status, state, True)
            assert (outcome.after.observed_at, outcome.after.version) == (max(at, NOW), 4)
        else:
            assert outcome.reason


@machines
def test_what_was_never_seen_is_taken_in_any_state(machine: Machine) -> None:
    for status in (*machine.states, UNHEARD):
        outcome = machine.step(None, seen(machine, status, n=1))
        assert isinstance(outcome, Step)
        assert (outcome.before, outcome.moved, outcome.after.state) == (None, True, status)
        assert (outcome.after.version, outcome.after.data, outcome.after.observed_at) == (1, {"n": 1}, NOW)


@machines
def test_the_kernel_reaches_what_the_closure_reaches(machine: Machine) -> None:
    for start, end in itertools.product(machine.states, machine.states):
        assert machine.reaches(start, end) == ((start, end) in LEADS[machine.kind])
    assert not machine.reaches(UNHEARD, machine.states[0])


@machines
def test_a_terminal_state_is_left_for_no_snapshot(machine: Machine) -> None:
    for state in (s for s in machine.states if machine.terminal(s)):
        for status, at in itertools.product(machine.states, (NOW - 1, NOW, NOW + 1)):
            outcome = machine.step(held(machine, state, n=1), seen(machine, status, at, n=1))
            assert not isinstance(outcome, Step) or status == state


@machines
def test_a_declared_move_is_made_whenever_it_was_seen_unless_it_can_be_undone(machine: Machine) -> None:
    for state, moves in machine.moves.items():
        for after in moves:
            late = machine.step(held(machine, state), seen(machine, after, NOW - 1))
            assert isinstance(late, Ignored if (after, state) in LEADS[machine.kind] else Step)
            assert isinstance(machine.step(held(machine, state), seen(machine, after, NOW + 1)), Step)


@machines
def test_a_sure_later_reading_wins_where_a_snapshot_is_refused(machine: Machine) -> None:
    apart = [
        (a, b)
        for a, b in itertools.permutations(machine.states, 2)
        if (a, b) not in LEADS[machine.kind] and (b, a) not in LEADS[machine.kind]
    ]
    for state, status in apart:
        now = held(machine, state)
        assert isinstance(machine.step(now, seen(machine, status, NOW + 1)), Refused)
        assert isinstance(machine.step(now, seen(machine, status, NOW - 1, sure=True)), Refused)
        won = machine.step(now, seen(machine, status, NOW + 1, sure=True))
        assert isinstance(won, Step)
        assert (won.after.state, won.after.sure) == (status, True)


def test_in_one_state_the_newer_fields_win_and_an_older_reading_says_nothing() -> None:
    card = MACHINES["card"]
    now = held(card, "active", last4="4242", n=1)
    newer = card.step(now, seen(card, "active", NOW + 1, n=2))
    assert isinstance(newer, Step)
    assert (newer.moved, newer.after.data) == (False, {"last4": "4242", "n": 2})
    assert isinstance(card.step(now, seen(card, "active", NOW - 1, n=2)), Ignored)
    assert isinstance(card.step(now, seen(card, "active", NOW + 1, n=1)), Ignored)


def test_a_sure_reading_of_the_same_is_younger_knowledge() -> None:
    card = MACHINES["card"]
    outcome = card.step(held(card, "active", n=1), seen(card, "active", NOW + 5, sure=True, n=1))
    assert isinstance(outcome, Step)
    assert (outcome.moved, outcome.after.observed_at, outcome.after.sure) == (False, NOW + 5, True)


def test_a_move_that_is_told_late_takes_the_state_and_leaves_the_newer_fields() -> None:
    payment = MACHINES["outbound_payment"]
    outcome = payment.step(held(payment, "processing", n=2), seen(payment, "posted", NOW - 1, n=1, posted_at="x"))
    assert isinstance(outcome, Step)
    assert (outcome.after.data, outcome.after.observed_at) == ({"n": 2, "posted_at": "x"}, NOW)


@st.composite
def paths(draw: st.DrawFn, among: Sequence[Machine]) -> tuple[Machine, list[str]]:
    """A machine and a life of it along declared moves."""
    machine = draw(st.sampled_from(among))
    path = [draw(st.sampled_from(machine.states))]
    for _ in range(draw(st.integers(0, 9))):
        if machine.terminal(path[-1]):
            break
        path.append(draw(st.sampled_from(machine.moves[path[-1]])))
    return machine, path


def told(machine: Machine, path: Sequence[str], times: Sequence[int], sure: Sequence[bool]) -> list[Observed]:
    return [seen(machine, state, at, sure=live, n=at) for state, at, live in zip(path, times, itertools.cycle(sure))]


sures = st.lists(st.booleans(), min_size=1, max_size=4)
observations = st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(0, 2), st.booleans())


@given(paths(ALL), sures, st.data())
def test_any_order_of_a_life_with_duplicates_ends_as_it_was_lived(
    life: tuple[Machine, list[str]], sure: list[bool], data: st.DataObject
) -> None:
    machine, path = life
    readings = told(machine, path, range(10, 10 + len(path)), sure)
    again = data.draw(st.lists(st.sampled_from(readings), max_size=4))
    end = fold(machine, data.draw(st.permutations(readings + again)))
    assert end is not None
    assert (end.state, end.data, end.observed_at) == (path[-1], {"n": readings[-1].at}, readings[-1].at)


@given(paths(ACYCLIC), sures, st.data())
def test_a_life_without_return_ends_in_one_state_whatever_the_clocks_said(
    life: tuple[Machine, list[str]], sure: list[bool], data: st.DataObject
) -> None:
    machine, path = life
    times = data.draw(st.permutations(range(len(path))))
    readings = data.draw(st.permutations(told(machine, path, times, sure)))
    end = fold(machine, readings)
    assert end is not None
    assert end.state == path[-1]


@given(st.sampled_from(ROUND), sures, st.data())
def test_where_all_can_return_the_latest_reading_wins(machine: Machine, sure: list[bool], data: st.DataObject) -> None:
    states = data.draw(st.lists(st.sampled_from((*machine.states, UNHEARD)), min_size=1, max_size=8))
    readings = told(machine, states, range(len(states)), sure)
    end = fold(machine, data.draw(st.permutations(readings)))
    assert end is not None
    assert (end.state, end.data) == (states[-1], {"n": len(states) - 1})


@given(st.sampled_from(ALL), st.lists(observations, max_size=8), observations)
def test_a_duplicate_changes_nothing(
    machine: Machine, before: list[tuple[int, int, int, bool]], last: tuple[int, int, int, bool]
) -> None:
    every = (*machine.states, UNHEARD)
    *earlier, one = [seen(machine, every[s % len(every)], at, sure=sure, n=n) for s, at, n, sure in (*before, last)]
    now = fold(machine, earlier)
    once = fold(machine, [one], now)
    assert fold(machine, [one, one], now) == once
    assert not isinstance(machine.step(once, one), Step)


@given(st.sampled_from(ALL), st.lists(observations, max_size=10))
def test_knowledge_never_gets_older_and_every_step_is_one_version(
    machine: Machine, drawn: list[tuple[int, int, int, bool]]
) -> None:
    every = (*machine.states, UNHEARD)
    now: Object | None = None
    for s, at, n, sure in drawn:
        outcome = machine.step(now, seen(machine, every[s % len(every)], at, sure=sure, n=n))
        if isinstance(outcome, Step):
            assert outcome.before == (now.state if now else None)
            assert outcome.moved == (now is None or now.state != outcome.after.state)
            assert outcome.after.version == (now.version if now else 0) + 1
            assert outcome.after.observed_at == max(at, now.observed_at if now else at)
            now = outcome.after


def shipped(at: int, shipping: str, *, sure: bool = False) -> Observed:
    fields: Json = {"shipping": {"status": shipping}}
    return Observed(kind="card", object_id="ic_1", status="active", at=at, fields=fields, sure=sure)


def test_a_part_goes_on_by_its_own_law_whatever_the_times_say() -> None:
    machine = MACHINES["card"]
    held: Object | None = None
    for seen in (shipped(5_300, "pending", sure=True), shipped(5_000, "shipped"), shipped(5_000, "submitted")):
        outcome = machine.step(held, seen)
        held = outcome.after if isinstance(outcome, Step) else held
    assert held is not None
    assert held.data["shipping"] == {"status": "shipped"}
    assert machine.part_moves(None, held) == [("shipping", None, "shipped")]


def test_a_snapshot_within_the_second_of_a_reading_may_be_newer_so_it_is_read_again() -> None:
    machine = MACHINES["cardholder"]
    read = Observed(kind="cardholder", object_id="ich_1", status="active", at=5_300, fields={"due": ""}, sure=True)
    first = machine.step(None, read)
    assert isinstance(first, Step)
    differs = Observed(kind="cardholder", object_id="ich_1", status="active", at=5_000, fields={"due": "dob"})
    assert isinstance(machine.step(first.after, differs), Refused)
    before = Observed(kind="cardholder", object_id="ich_1", status="active", at=4_000, fields={"due": "dob"})
    assert isinstance(machine.step(first.after, before), Ignored)
    same = Observed(kind="cardholder", object_id="ich_1", status="active", at=5_000, fields={"due": ""})
    assert isinstance(machine.step(first.after, same), Ignored)


def test_a_move_forward_brings_its_fields_though_its_second_began_before_what_was_read() -> None:
    """A snapshot's time is a whole second: what was read within it, in an earlier state, is not later."""
    machine = MACHINES["dispute"]
    read = held(machine, "submitted", at=5_700, loss_reason=None, amount=5)

    outcome = machine.step(read, seen(machine, "lost", at=5_000, loss_reason="other"))

    assert isinstance(outcome, Step)
    assert outcome.after.data == {"loss_reason": "other", "amount": 5}
    assert outcome.after.observed_at == 5_700
