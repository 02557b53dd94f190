"""The runbook and the alarms say only what is so: every command parses, every metric exists, every heading is there."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from app import metrics
from app.store import decisions
from tests.cli_forms import refused

ROOT = Path(__file__).resolve().parent.parent
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "cardrail.rules.yml").read_text(encoding="utf-8"))
EXPORTING = (metrics, decisions)
"""The modules that declare metrics; importing them registers what they export."""


def commands() -> list[str]:
    """Every command in the runbook and the other pages: those in code spans, and those typed in a block, after a prompt or
    without one.
    """
    pages = (*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md")
    text = "\n".join(path.read_text(encoding="utf-8") for path in pages)
    blocks = "\n".join(re.findall(r"^```\w*$(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE))
    typed = re.findall(r"^(?:\$ )?(cardrail [a-z][^#\n]*?)\s*(?:#.*)?$", blocks, flags=re.MULTILINE)
    without = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = [re.sub(r"\s+", " ", span) for span in re.findall(r"`(cardrail [^`]+)`", without)]
    return sorted({line for line in (*typed, *spans) if not line.startswith("cardrail demo:")})


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_pages_is_one(line: str) -> None:
    assert refused(line) is None


def alarms() -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def exported() -> set[str]:
    """The names that /metrics shows, those of histograms' parts included."""
    names: set[str] = set()
    for family in REGISTRY.collect():
        names |= {family.name, f"{family.name}_total", f"{family.name}_bucket"}
    return names


@pytest.mark.parametrize("alarm", alarms(), ids=lambda alarm: str(alarm["alert"]))
def test_an_alarm_asks_for_metrics_that_exist_and_names_a_heading_of_the_runbook(alarm: dict[str, Any]) -> None:
    asked = set(re.findall(r"cardrail_\w+", alarm["expr"]))
    assert asked
    assert asked <= exported()
    headings = re.findall(r"^#+ (.+)$", RUNBOOK, flags=re.MULTILINE)
    assert alarm["annotations"]["runbook"] in {heading.lower().replace(" ", "-") for heading in headings}
    assert alarm["annotations"]["summary"]
    assert alarm["labels"]["severity"] in {"page", "ticket"}


def test_what_the_issue_asks_for_has_an_alarm() -> None:
    asked = " ".join(alarm["expr"] for alarm in alarms())
    for name in ("backlog_age", "parked_now", "mismatches", "heartbeat", "complete_until", "brake_on"):
        assert name in asked
