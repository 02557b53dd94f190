"""explain has an answer for every state: all lifecycle stages times everything an account can wait for."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from app.machines.lifecycle import LIFECYCLE, Capability, Facts, Thing
from app.machines.programme import STEPS, Programme
from app.ops import explain, plain
from tests.cli_forms import refused

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)
WHO = {"holder", "stripe", "balance", "operator"}
RESTING = {"live", "closed"}
"""Stages in which nothing is waited for, unless something stops the account."""

Row = dict[str, Any]


def row(state: str, facts: Facts | None = None) -> Row:
    """An account that stands in ``state`` since a minute ago."""
    own = facts or Facts(enrolled=True, seen=state != "enrolled")
    own.state = state
    if state == "closed":
        own.closed = True
    empty = ("hold", "brakes", "error", "error_what", "error_id", "error_kind", "error_status", "error_due_at")
    call = ("call_id", "call_kind", "call_status", "call_due_at", "call_attempts")
    return {
        "account_id": "acct_1",
        "state": state,
        "since": NOW - timedelta(seconds=60),
        "facts": msgspec.to_builtins(own),
        **dict.fromkeys((*empty, *call)),
    }


def failed(what: str, status: str, code: str, kind: str = "create_card") -> Row:
    name = "cmd_1" if what == "command" else "evt_1"
    error = {"code": code, "message": "as said at the time"}
    due = NOW + timedelta(seconds=30)
    own = {"error": error, "error_what": what, "error_id": name, "error_kind": kind, "error_due_at": due}
    return {**own, "error_status": status}


def due(status: str, kind: str = "create_card") -> Row:
    at = NOW + timedelta(seconds=30)
    return {"call_id": "cmd_1", "call_kind": kind, "call_status": status, "call_due_at": at, "call_attempts": 3}


BRAKE = {"step": "all", "by": "cardrail", "reason": "12 commands failed"}
REASONS: Mapping[str, tuple[Row, str | None]] = {
    "the stage itself": ({}, None),
    "a hold": ({"hold": {"by": "ana", "reason": "fraud check", "at": 1}}, "operator"),
    "a brake": ({"brakes": [BRAKE], **due("pending")}, "operator"),
    "a parked event": (failed("event", "parked", "object_missing", "issuing_card.created"), "operator"),
    "an event that cannot be read now": (failed("event", "pending", "rate_limit", "issuing_card.created"), "stripe"),
    "a parked command": (failed("command", "parked", "outcome_unknown"), "operator"),
    "a command that a person gave up": (failed("command", "rejected", "discarded"), None),
    "a parked request": (failed("command", "parked", "outcome_unknown", "create_outbound_transfer"), "operator"),
    "a command above a cap": (failed("command", "parked", "cap_exceeded", "create_outbound_payment"), "operator"),
    "a command that is unknown": ({**failed("command", "unknown", "connection_lost"), **due("unknown")}, "stripe"),
    "a command that is tried again": ({**failed("command", "pending", "rate_limit"), **due("pending")}, "stripe"),
    "too little money on the platform": (
        {
            **failed("command", "pending", "insufficient_funds", "create_outbound_payment"),
            **due("pending", "create_outbound_payment"),
        },
        "balance",
    ),
    "the deadline is over": ({"since": NOW - timedelta(days=30)}, None),
}


def answer(seen: Row) -> dict[str, Any]:
    return explain.explain(explain.situation(seen, Programme()), NOW_MS)


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("state", LIFECYCLE.states)
def test_no_state_is_without_an_answer(state: str, reason: str) -> None:
    more, whom = REASONS[reason]
    told = answer({**row(state), **more})
    assert (told["stage"], told["since"][:4]) == (state, "2026")
    failing = more.get("error") and more["error_status"] != "rejected"
    resting = state in RESTING and not failing and not more.get("hold") and not more.get("brakes")
    waiting = told["waiting_for"]
    assert (waiting is None) == resting, told["plain"]
    if waiting is not None:
        assert waiting["what"]
        assert waiting["who"] in WHO
        assert whom is None or waiting["who"] == whom, told["plain"]
        limited = hasattr(Programme().deadlines, state)
        assert (waiting["deadline"] is not None) == limited
        assert waiting["overdue"] == (limited and reason == "the deadline is over")
        assert waiting["who"] in told["plain"]
    if more.get("call_id"):
        assert told["next_call"]["id"] == "cmd_1"
        assert told["next_call"]["stopped"] == (reason == "a brake")
        assert told["next_call"]["at"] in told["plain"]
    if more.get("error"):
        assert told["error_in_words"].startswith(plain.WORDS[more["error"]["code"]])
        assert told["error_in_words"] in told["plain"]
    assert len(set(told["commands"])) == 3
    assert [why for command in told["commands"] if (why := refused(command))] == []


CAPABILITY = Programme().required_capabilities[0]
HOLDER_DUE = {"what": "identity.tax_id", "who": "user", "deadline": "currently_due"}


def known(change: Callable[[Facts], None]) -> Facts:
    facts = Facts(enrolled=True, seen=True, financial_account=Thing("fa_1", "open"))
    change(facts)
    return facts


def _set(**values: Any) -> Callable[[Facts], None]:
    def change(facts: Facts) -> None:
        for name, value in values.items():
            setattr(facts, name, value)

    return change


@pytest.mark.parametrize(
    ("state", "facts", "who", "words"),
    [
        ("onboarding", _set(requirements=[HOLDER_DUE]), "holder", "identity.tax_id"),
        ("restricted", _set(requirements=[HOLDER_DUE]), "holder", "identity.tax_id"),
        ("restricted", _set(capabilities={CAPABILITY: Capability("restricted")}), "stripe", CAPABILITY),
        ("verifying", _set(capabilities={CAPABILITY: Capability("pending")}), "stripe", "pending"),
        ("rejected", _set(capabilities={CAPABILITY: Capability("rejected")}), "stripe", "rejected"),
        ("activated", _set(intents={"financial_account/1": "rejected:x"}), "operator", "Stripe refused"),
        ("activated", _set(intents={"financial_account/1": "issued"}), "stripe", "to open"),
        (
            "cardholder_ready",
            _set(cards={"ic_1": Thing("ic_1", "canceled")}),
            "operator",
            "POST /v1/accounts/acct_1/cards",
        ),
        ("provisioned", _set(fundings={"obp_1": Thing("obp_1", "returned")}), "operator", "came back"),
        (
            "provisioned",
            _set(intents={"funding/1": "rejected:x", "funding/2": "rejected:x"}),
            "operator",
            "no further funding attempt",
        ),
        (
            "provisioned",
            _set(intents={"funding/1": "rejected:discarded"}),
            "operator",
            "create_outbound_payment was given up",
        ),
        ("funded", _set(cardholder=Thing("ich_1", "active", ok=False)), "holder", "cardholder's requirements"),
        ("funded", _set(intents={"cardholder/1": "rejected:x"}), "operator", "Stripe refused"),
        ("funded", _set(intents={"cardholder/1": "rejected:discarded"}), "operator", "create_cardholder was given up"),
        ("activated", _set(financial_account=Thing("fa_1", "closed")), "operator", "financial account is closed"),
        (
            "funding",
            _set(fundings={"obp_1": Thing("obp_1", "processing", why="under_review")}),
            "stripe",
            "review of the funding",
        ),
        ("funded", _set(cardholder=Thing("ich_1", "inactive", ok=False)), "operator", "inactive, to become active"),
        (
            "funded",
            _set(cardholder=Thing("ich_1", "active", ok=False, why="listed")),
            "stripe",
            "review of the cardholder",
        ),
        ("cardholder_ready", _set(cards={"ic_1": Thing("ic_1", "inactive")}), "operator", "activate the card"),
        ("cardholder_ready", _set(intents={"card/1": "rejected:x"}), "operator", "Stripe refused"),
        ("activated", _set(enrolled=False), "operator", "not enrolled"),
    ],
)
def test_a_stage_says_what_it_waits_for_and_whom(
    state: str, facts: Callable[[Facts], None], who: str, words: str
) -> None:
    told = answer(row(state, known(facts)))
    assert told["waiting_for"]["who"] == who
    assert words in told["waiting_for"]["what"]
    assert ("cardrail accounts retry" in told["commands"][0]) == (
        "it goes on only after" in told["waiting_for"]["what"]
    )
    assert [why for command in told["commands"] if (why := refused(command))] == []


@pytest.mark.parametrize("step", STEPS[1:])
def test_a_step_that_the_programme_does_not_run_waits_for_a_person(step: str) -> None:
    states = dict(zip(STEPS[1:], ("activated", "provisioned", "funded", "cardholder_ready"), strict=True))
    facts = known(_set(financial_account=None if step == "create_financial_account" else Thing("fa_1", "open")))
    programme = Programme(steps=tuple(s for s in STEPS if s != step))
    told = explain.explain(explain.situation(row(states[step], facts), programme), NOW_MS)
    assert (told["waiting_for"]["who"], told["next_command"]) == ("operator", None)
    assert f"does not run {step}" in told["waiting_for"]["what"]


def test_an_error_of_stripe_s_own_is_told_in_stripe_s_words() -> None:
    told = answer({**row("cardholder_ready"), **failed("command", "rejected", "card_design_gone")})
    assert told["error_in_words"] == "as said at the time"


def test_the_platform_itself_waits_for_nothing_and_is_not_to_be_adopted() -> None:
    seen = {**row("enrolled", Facts()), "since": NOW - timedelta(days=30)}
    told = explain.explain(explain.situation(seen, Programme(), platform="acct_1"), NOW_MS)
    assert (told["waiting_for"], told["next_command"]) == (None, None)
    assert "platform's own account" in told["plain"]
    assert not [c for c in told["commands"] if "adopt" in c]


def test_what_is_only_followed_has_no_deadline() -> None:
    told = answer({**row("activated", Facts()), "since": NOW - timedelta(days=30)})
    assert told["waiting_for"]["deadline"] is None
    assert "The deadline has passed" not in told["plain"]
