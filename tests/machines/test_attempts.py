"""A step that Stripe refused for good is tried once more only when a person allows it: a new intent, so a new key."""

import pytest

from app.machines import lifecycle
from app.machines.events import AttemptAllowed, CommandRejected, Happening
from app.machines.story import Story, fold
from tests.machines import lives


def refused(at: int, intent: str, kind: str, code: str = "no") -> CommandRejected:
    return CommandRejected(command_id="cmd_1", kind=kind, intent=intent, code=code, message="No.", at=at)


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


def test_a_funding_that_a_person_gave_up_is_followed_by_none_until_a_person_allows_it() -> None:
    """Its answer may be lost and its money on the way: the programme's second attempt is for payments known to fail."""
    story = lives.story()
    step = "create_outbound_payment"
    assert "funding/1" in issued(story, lives.enrolled(), lives.account(30), lives.financial_account(50))
    assert issued(story, refused(60, "funding/1", step, "discarded")) == []
    assert issued(story, lives.financial_account(70)) == []
    assert lifecycle.failed_step(story.facts) == step
    assert issued(story, allowed(80, step)) == ["funding/2"]
    assert issued(story, refused(90, "funding/2", step, "discarded")) == []
    assert issued(story, allowed(100, step)) == ["funding/3"]


def test_a_permission_from_before_lets_no_funding_follow_one_that_was_given_up() -> None:
    story = lives.story()
    step = "create_outbound_payment"
    issued(story, lives.enrolled(), lives.account(30), lives.financial_account(50))
    issued(story, lives.settled(55, "funding/1", step, "obp_1"), lives.payment(60, "posted"))
    issued(story, lives.payment(70, "returned"))
    assert issued(story, allowed(80, step)) == ["funding/2"]
    assert issued(story, refused(90, "funding/2", step, "discarded")) == []


def test_a_funding_that_stripe_refused_is_followed_by_the_programmes_second_attempt() -> None:
    story = lives.story()
    issued(story, lives.enrolled(), lives.account(30), lives.financial_account(50))
    assert issued(story, refused(60, "funding/1", "create_outbound_payment")) == ["funding/2"]


def test_the_answer_to_an_attempt_counts_though_it_would_not_be_issued_today() -> None:
    """As in logs of a release that let a second funding follow one that was given up: its number stays taken."""
    story = lives.story()
    step = "create_outbound_payment"
    issued(story, lives.enrolled(), lives.account(30), lives.financial_account(50))
    issued(story, refused(60, "funding/1", step, "discarded"), refused(70, "funding/2", step, "discarded"))
    assert issued(story, allowed(80, step)) == ["funding/3"]
