"""What the registry declares: sound tables, diagrams that say the same, and a page that is up to date."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from app.machines.kernel import Machine
from app.machines.lifecycle import LIFECYCLE, OFF, STAGES
from app.machines.registry import ALL, MACHINES, PARTS, diagrams, mermaid
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]

machines = pytest.mark.parametrize("machine", ALL, ids=lambda m: m.kind)


def test_the_page_says_what_the_tables_say() -> None:
    page = (ROOT / "docs" / "machines.md").read_text(encoding="utf-8")
    assert page == diagrams(), "write registry.diagrams() to docs/machines.md"


@machines
def test_a_diagram_has_one_arrow_per_declared_move(machine: Machine) -> None:
    declared = [(state, after) for state, moves in machine.moves.items() for after in moves]
    arrows = [
        (before, after)
        for before, _, after in (line.strip().partition(" --> ") for line in mermaid(machine).splitlines()[1:])
        if "[*]" not in (before, after)
    ]
    assert sorted(arrows) == sorted(declared)
    assert len(set(declared)) == len(declared)


@machines
def test_a_diagram_begins_once_and_ends_where_nothing_leads_on(machine: Machine) -> None:
    lines = mermaid(machine).splitlines()
    assert [line for line in lines if "[*] -->" in line] == [f"    [*] --> {machine.states[0]}"]
    ends = [line.split()[0] for line in lines if line.endswith("--> [*]")]
    assert ends == [state for state in machine.states if machine.terminal(state)]


@machines
def test_every_state_that_a_move_names_is_declared(machine: Machine) -> None:
    named = {after for moves in machine.moves.values() for after in moves}
    assert named <= set(machine.states)
    assert all(state not in moves for state, moves in machine.moves.items())
    assert machine.doc


def test_every_machine_is_registered_once_under_its_kind() -> None:
    assert [m.kind for m in ALL] == ["lifecycle", *MACHINES, *(part.kind for part in PARTS)]
    assert all(kind == machine.kind for kind, machine in MACHINES.items())


def test_every_lifecycle_state_is_declared_and_can_be_reached() -> None:
    assert set(LIFECYCLE.states) == {*STAGES, *OFF}
    assert all(LIFECYCLE.reaches(STAGES[0], state) for state in (*STAGES[1:], *OFF))


def test_what_was_asked_for_ends_in_one_of_two_ways() -> None:
    asked = MACHINES["request"]
    assert {state for state in asked.states if asked.terminal(state)} == {"settled", "rejected"}
    assert asked.reaches("parked", "requested")
    assert MACHINES["enrollment"].moves == {"requested": ("created", "rejected"), "created": (), "rejected": ()}


def test_the_command_line_draws_them() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "app", "machines", "--mermaid"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=PATIENCE_S,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("stateDiagram-v2") == len(ALL)


def test_the_example_of_a_new_object_in_contributing_stands_in_the_tree() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    machine, entries = (textwrap.dedent(block) for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    assert machine in (ROOT / "app" / "machines" / "token.py").read_text(encoding="utf-8")
    for line in entries.strip().splitlines():
        code, _, comment = line.partition("  # ")
        source = (ROOT / "app" / "stripe" / comment.partition(":")[0]).read_text(encoding="utf-8")
        assert code.partition("...")[0] in source, line
    assert (ROOT / "app" / "sandbox" / "tokens.py").exists()
