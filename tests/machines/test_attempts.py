"""A step that Stripe refused for good is tried once more only when a person allows it: a new intent, so a new key."""

import pytest

from app.machines import lifecycle
from app.machines.events import AttemptAllowed, CommandRejected, Happening
from app.machines.story import Story, fold
from tests.machines import lives


def refused(at: int, intent: str, kind: str) -> CommandRejected:
    return CommandRejected(command_id="cmd_1", kind=kind, intent=intent, code="no", message="No.", at=at)


def allowed(at: int, step: str) -> AttemptAllowed:
    return AttemptAllowed(step=step, by="ana", reason="the cause is gone", at=at)


def issued(story: Story, *happenings: Happening) -> list[str]:
    return [command.intent for command in fold(story, happenings).commands]


FUNDED = [lives.payment(60, "posted"), lives.financial_account(80, available=10_000)]
BEFORE: dict[str, list[Happening]] = {
    "financial_account": [],
    "cardholder": [lives.financial_account(50), *FUNDED],
    "card": [lives.financial_account(50), *FUNDED, lives.cardholder(90)],
}


@pytest.mark.parametrize(("stage", "noun", "step"), [(s, *v) for s, v in lifecycle.STEPS.items() if v[0] in BEFORE])
def test_a_refused_step_is_tried_again_once_for_each_time_it_is_allowed(stage: str, noun: str, step: str) -> None:
    story = lives.story()
    assert f"{noun}/1" in issued(story, lives.enrolled(), lives.account(30), *BEFORE[noun])
    assert story.facts.state == stage
    assert lifecycle.failed_step(story.facts) is None
    assert issued(story, refused(100, f"{noun}/1", step)) == []
    assert lifecycle.failed_step(story.facts) == step
    assert issued(story, allowed(110, step)) == [f"{noun}/2"]
    assert lifecycle.failed_step(story.facts) is None
    assert issued(story, refused(120, f"{noun}/2", step)) == []
    assert issued(story, allowed(130, step)) == [f"{noun}/3"]


def test_a_funding_that_came_back_waits_for_a_person() -> None:
    story = lives.story()
    step = "create_outbound_payment"
    assert "funding/1" in issued(story, lives.enrolled(), lives.account(30), lives.financial_account(50))
    issued(story, lives.settled(55, "funding/1", step, "obp_1"), lives.payment(60, "posted"))
    assert issued(story, lives.payment(70, "returned")) == []
    assert (story.facts.state, lifecycle.failed_step(story.facts)) == ("provisioned", step)
    assert issued(story, allowed(80, step)) == ["funding/2"]


def test_an_attempt_that_nobody_refused_is_not_doubled_by_an_early_permission() -> None:
    story = lives.story()
    assert issued(story, lives.enrolled(), lives.account(30)) == ["financial_account/1"]
    assert issued(story, allowed(40, "create_financial_account")) == []
