"""Top-ups: off by default, one at a time, each its own intent, never above the day's limit, stopped by a return."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from app.machines.lifecycle import Balance, Facts, Thing
from app.machines.programme import Funding, Programme, TopUp, faults
from app.machines.topup import DAY_MS, issued, stopped, wanted

RULE = TopUp(below=1_000, amount=5_000, per_day=10_000)
ON = Programme(funding=Funding(top_up=RULE))
NOW = 20_000 * DAY_MS


def live(usdc: int = 500) -> Facts:
    facts = Facts(enrolled=True, state="live", financial_account=Thing("fa_1", "open"))
    facts.fundings["obp_0"] = Thing("obp_0", "posted", NOW - 10)
    facts.balance = Balance(available={"usdc": usdc}, at=NOW)
    return facts


def test_it_is_off_by_default_and_a_rule_that_cannot_be_is_refused() -> None:
    assert wanted("acct_1", live(), Programme(), NOW) is None
    assert faults(ON) == []
    for rule in (TopUp(below=0, amount=1, per_day=1), TopUp(below=1, amount=3, per_day=2)):
        assert faults(Programme(funding=Funding(top_up=rule)))


def test_only_a_live_account_below_the_threshold_is_topped_up() -> None:
    assert wanted("acct_1", live(1_000), ON, NOW) is None
    command = wanted("acct_1", live(999), ON, NOW)
    assert command is not None
    assert (command.intent, command.moves and command.moves.value) == ("topup/1", 5_000)
    for state in ("restricted", "funded", "closed"):
        assert wanted("acct_1", msgspec.structs.replace(live(), state=state), ON, NOW) is None


def test_a_return_stops_it_unless_the_programme_says_otherwise() -> None:
    facts = live()
    facts.fundings["obp_1"] = Thing("obp_1", "returned", NOW - 5)
    assert wanted("acct_1", facts, ON, NOW) is None
    assert "came back" in str(stopped(facts, ON, NOW))
    again = Programme(funding=Funding(top_up=RULE, after_return=True))
    assert wanted("acct_1", facts, again, NOW) is not None


ENDS = st.sampled_from(["posted", "posted", "failed", "canceled", "rejected", "nothing"])


@given(st.lists(st.tuples(ENDS, st.integers(0, DAY_MS), st.booleans()), max_size=25))
def test_never_two_at_once_never_one_intent_twice_never_above_the_day(steps: list[tuple[str, int, bool]]) -> None:
    facts, at = live(), NOW
    intents: list[str] = []
    moved: dict[int, int] = {}
    for number, (end, later, read) in enumerate(steps):
        at += later
        command = wanted("acct_1", facts, ON, at)
        if command is not None:
            issued(facts, command, at)
            facts.intents[command.intent] = "issued"
            intents.append(command.intent)
            moved[at // DAY_MS] = moved.get(at // DAY_MS, 0) + RULE.amount
        assert wanted("acct_1", facts, ON, at) is None or facts.intents.get(f"topup/{facts.topups}") != "issued"
        last = f"topup/{facts.topups}"
        if facts.intents.get(last) == "issued" and end != "nothing":
            payment = f"obp_{number + 1}"
            facts.intents[last] = "rejected:no" if end == "rejected" else f"settled:{payment}"
            if end != "rejected":
                facts.fundings[payment] = Thing(payment, end, at)
        if read:
            facts.balance = Balance(available={"usdc": 0}, at=at)
    assert len(intents) == len(set(intents))
    assert all(cents <= RULE.per_day for cents in moved.values())
    assert sum(name.startswith("topup/") for name in facts.intents) <= 1
