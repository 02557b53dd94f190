"""The account's own machine: stages, fall-backs, intents, and the laws of the fold."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.machines.commands import Command, command_id
from app.machines.events import (
    ActionRequested,
    CommandRejected,
    EnrollmentRequested,
    Happening,
    HoldPlaced,
    Json,
    Observed,
)
from app.machines.lifecycle import LIFECYCLE, OFF, STAGES, Facts
from app.machines.programme import STEPS, Programme, faults
from app.machines.story import Story, Told, fold
from tests.machines import lives


def told(story: Story, *happenings: Happening) -> list[Told]:
    return [fold(story, [h]) for h in happenings]


def commands(all_told: list[Told]) -> list[Command]:
    return [command for one in all_told for command in one.commands]


def test_a_life_in_good_order_passes_every_stage_and_ends_live() -> None:
    story = lives.story()
    stages: list[str] = []
    for happening in lives.whole_life():
        fold(story, [happening])
        if not stages or stages[-1] != story.facts.state:
            stages.append(story.facts.state)
    assert stages == [
        "enrolled",
        "onboarding",
        "verifying",
        "activated",
        "provisioned",
        "funding",
        "funded",
        "cardholder_ready",
        "live",
    ]


def test_each_stage_issues_its_one_command() -> None:
    story = lives.story()
    issued = [(c.intent, c.kind) for c in commands(told(story, *lives.whole_life()))]
    assert issued == [
        ("financial_account/1", "create_financial_account"),
        ("funding/1", "create_outbound_payment"),
        ("cardholder/1", "create_cardholder"),
        ("card/1", "create_card"),
    ]


@settings(max_examples=150, deadline=None)
@given(order=st.permutations(lives.whole_life()))
def test_any_order_of_delivery_converges_to_one_end(order: list[Happening]) -> None:
    story = lives.story()
    issued = [c.intent for c in commands(told(story, *order))]
    assert story.facts.state == "live"
    assert len(issued) == len(set(issued))
    good = lives.story()
    told(good, *lives.whole_life())
    assert {k: (o.state, o.data) for k, o in story.objects.items()} == {
        k: (o.state, o.data) for k, o in good.objects.items()
    }


@settings(max_examples=150, deadline=None)
@given(repeats=st.lists(st.integers(0, 10), max_size=12), seed=st.randoms(use_true_random=False))
def test_duplicates_change_nothing(repeats: list[int], seed: object) -> None:
    life = lives.whole_life()
    story, again = lives.story(), lives.story()
    told(story, *life)
    extended = [h for n, h in enumerate(life) for _ in range(1 + repeats.count(n))]
    issued = [c.intent for c in commands(told(again, *extended))]
    assert msgspec.json.encode(again.facts) == msgspec.json.encode(story.facts)
    assert again.objects == story.objects
    assert len(issued) == len(set(issued))


@settings(max_examples=100, deadline=None)
@given(order=st.permutations(lives.whole_life()))
def test_a_rebuild_from_the_log_equals_live(order: list[Happening]) -> None:
    live, rebuilt = lives.story(), lives.story()
    first = told(live, *order)
    stored = [msgspec.json.decode(msgspec.json.encode(h), type=Happening) for h in order]
    second = told(rebuilt, *stored)
    assert rebuilt == live
    assert first == second


def test_an_account_that_is_not_enrolled_gets_no_command() -> None:
    story = lives.story()
    assert commands(told(story, *lives.whole_life()[1:])) == []
    assert story.facts.state == "live"


@pytest.mark.parametrize("step", STEPS[1:])
def test_a_step_outside_the_programme_is_not_taken(step: str) -> None:
    story = lives.story()
    story.programme = Programme(steps=tuple(s for s in STEPS if s != step))
    assert step not in {c.kind for c in commands(told(story, *lives.whole_life()))}


def test_a_failed_funding_is_followed_by_one_second_intent_only() -> None:
    story = lives.story()
    told(story, *lives.whole_life()[:6])
    issued = commands(
        told(
            story,
            lives.payment(60, "processing"),
            lives.payment(65, "failed"),
            lives.settled(66, "funding/1", "create_outbound_payment", "obp_1"),
        )
    )
    assert [c.intent for c in issued] == ["funding/2"]
    more = commands(
        told(
            story,
            lives.settled(70, "funding/2", "create_outbound_payment", "obp_2"),
            lives.payment(71, "failed", "obp_2"),
        )
    )
    assert more == []
    assert story.facts.state == "provisioned"


@pytest.mark.parametrize("amount", [None, {}, {"value": None}, {"value": "100"}, {"value": []}, "100"])
def test_a_payment_of_an_unreadable_amount_is_followed_all_the_same(amount: object) -> None:
    story = lives.story()
    told(story, *lives.whole_life()[:-1])
    seen = Observed(
        kind="outbound_payment", object_id="obp_odd", status="posted", at=99_000, fields={"amount": amount}, sure=True
    )
    fold(story, [seen])
    assert story.facts.fundings["obp_odd"].status == "posted"


def test_a_returned_funding_falls_back_and_is_not_repeated_by_itself() -> None:
    story = lives.story()
    told(story, *lives.whole_life())
    issued = commands(told(story, lives.payment(200, "returned")))
    assert story.facts.state == "provisioned"
    assert issued == []


def test_a_later_reading_of_the_same_balance_counts_as_read_back() -> None:
    story = lives.story()
    told(story, *lives.whole_life()[:6], lives.payment(60, "processing"), lives.financial_account(65, available=10_000))
    told(story, lives.payment(70, "posted"))
    assert story.facts.state == "funding"
    told(story, lives.financial_account(71, available=10_000))
    assert story.facts.state == "funded"


def test_a_later_reading_of_the_payment_does_not_unfund_a_live_account() -> None:
    story = lives.story()
    told(story, *lives.whole_life(), lives.payment(900, "posted"))
    assert story.facts.state == "live"


def test_a_capability_that_falls_back_restricts_and_coming_back_does_nothing_twice() -> None:
    story = lives.story()
    told(story, *lives.whole_life())
    told(story, lives.account(200, "restricted"))
    assert story.facts.state == "restricted"
    assert commands(told(story, lives.account(300))) == []
    assert story.facts.state == "live"


@pytest.mark.parametrize(("status", "state"), [("rejected", "rejected"), ("unsupported", "rejected")])
def test_a_capability_refused_for_good_rejects(status: str, state: str) -> None:
    story = lives.story()
    told(story, lives.enrolled(), lives.account(10, status))
    assert story.facts.state == state


def test_closed_is_the_end() -> None:
    story = lives.story()
    told(story, *lives.whole_life(), lives.account(500, closed=True), lives.account(600))
    assert story.facts.state == "closed"


def test_a_card_capability_restricted_while_storage_is_active_restricts() -> None:
    story = lives.story()
    seen = lives.account(10)
    capabilities = {path: {"status": "active", "codes": []} for path in lives.CAPABILITIES}
    capabilities[lives.CAPABILITIES[-1]] = {"status": "restricted", "codes": ["requirements_past_due"]}
    seen = msgspec.structs.replace(seen, fields={**seen.fields, "capabilities": capabilities})
    told(story, lives.enrolled(), seen)
    assert story.facts.state == "restricted"


def test_requirements_that_the_holder_must_meet_are_onboarding() -> None:
    story = lives.story()
    due: Json = {"what": "individual.dob", "who": "user", "deadline": "currently_due"}
    told(story, lives.enrolled(), lives.account(10, "pending", requirements=[due]))
    assert story.facts.state == "onboarding"


def test_a_hold_is_journalled_and_is_no_state() -> None:
    story = lives.story()
    (one,) = told(story, HoldPlaced(by="ana", reason="audit", at=5))
    assert story.facts.hold == {"by": "ana", "reason": "audit", "at": 5}
    assert [line.note for line in one.lines] == ["held by ana: audit"]


def test_an_enrollment_is_one_command_however_often_it_is_asked() -> None:
    story = lives.story(platform=True)
    asked = EnrollmentRequested(enrollment_id="enr_1", request={"reference": "r"}, at=1)
    issued = commands(told(story, asked, asked))
    assert [c.kind for c in issued] == ["create_account"]
    (done,) = told(story, lives.settled(2, "enroll/enr_1", "create_account", "acct_9"))
    assert done.handed[0].account_id == "acct_9"
    assert story.objects["enr_1"].state == "created"


def test_a_refused_enrollment_says_why() -> None:
    story = lives.story(platform=True)
    told(story, EnrollmentRequested(enrollment_id="enr_1", request={"reference": "r"}, at=1))
    no = CommandRejected(
        command_id="cmd_1", kind="create_account", intent="enroll/enr_1", code="bad", message="No.", at=2
    )
    told(story, no)
    assert (story.objects["enr_1"].state, story.objects["enr_1"].data["error"]) == (
        "rejected",
        {"code": "bad", "message": "No."},
    )


def test_a_request_without_a_financial_account_is_refused_with_its_reason() -> None:
    story = lives.story()
    asked = ActionRequested(
        request_id="req_1", action="create_outbound_transfer", params={"amount": {"value": 5, "currency": "usdc"}}, at=1
    )
    assert commands(told(story, asked)) == []
    assert story.objects["req_1"].data["error"] == {
        "code": "no_financial_account",
        "message": "The account has no open financial account.",
    }


def test_a_payment_seen_by_the_platform_is_handed_on_to_its_recipient() -> None:
    story = lives.story(platform=True)
    (one,) = told(story, lives.payment(5, "posted"))
    assert [h.account_id for h in one.handed] == [lives.ACCOUNT]


def test_one_intent_has_one_command_id_and_accounts_do_not_share_it() -> None:
    assert command_id("acct_1", "funding/1") == command_id("acct_1", "funding/1")
    assert command_id("acct_1", "funding/1") != command_id("acct_2", "funding/1")


def test_the_declared_lifecycle_names_exactly_the_stages() -> None:
    assert set(LIFECYCLE.moves) == {*STAGES, *OFF}
    assert all(after in LIFECYCLE.moves for moves in LIFECYCLE.moves.values() for after in moves)


def test_a_programme_that_could_not_work_is_told_so() -> None:
    assert faults(Programme()) == []
    wrong = Programme(countries=("mx",), steps=("fly",))
    assert len(faults(wrong)) == 2


def test_facts_survive_their_own_json() -> None:
    story = lives.story()
    told(story, *lives.whole_life())
    assert msgspec.json.decode(msgspec.json.encode(story.facts), type=Facts) == story.facts
