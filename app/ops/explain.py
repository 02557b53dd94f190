"""explain: for every account its stage, what it waits for and whom, what comes next, and what would help.

A state without an answer is a bug; a test walks all of them. Pure: rows and the clock come in as arguments.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from app.machines import lifecycle
from app.machines.lifecycle import Facts
from app.machines.programme import Programme

Row = Mapping[str, Any]


def explain_facts(row: Row, last_error: Mapping[str, Any] | None, now_ms: int, programme: Programme) -> dict[str, Any]:
    """Explain one ``accounts`` row.

    ``last_error`` is the newest open command with an error: ``{kind, status, error: {code, message}, due_at, ...}``.
    Returns ``{waiting_for: {what, who, since, deadline, overdue} | None, next_command, plain, commands}``.
    """
    facts = msgspec.convert(row["facts"] or {}, Facts)
    state = str(row["state"])
    since_ms = round(row["since"].timestamp() * 1000)
    what, who = _waits(facts, state, row, last_error)
    limit_s = getattr(programme.deadlines, state, None)
    deadline_ms = None if limit_s is None else since_ms + limit_s * 1000
    overdue = deadline_ms is not None and now_ms > deadline_ms
    waiting = None
    if what is not None:
        waiting = {
            "what": what,
            "who": who,
            "since": _time(since_ms),
            "deadline": None if deadline_ms is None else _time(deadline_ms),
            "overdue": overdue,
        }
    upcoming = lifecycle.next_command(str(row["account_id"]), facts, programme)
    following = upcoming.kind if upcoming else _open_intent(facts)
    account = str(row["account_id"])
    return {
        "waiting_for": waiting,
        "next_command": following,
        "plain": _plain(state, what, who, overdue=overdue, error=last_error),
        "commands": _suggestions(account, state, facts, last_error),
    }


def _waits(facts: Facts, state: str, row: Row, error: Mapping[str, Any] | None) -> tuple[str | None, str | None]:
    hold = row["hold"]
    if hold:
        return f"release of the hold: {hold.get('reason')}", "operator"
    if error is not None and error.get("status") == "parked":
        code = (error.get("error") or {}).get("code")
        return f"a person to settle the parked command {error.get('kind')} ({code})", "operator"
    if error is not None and (error.get("error") or {}).get("code") == "insufficient_funds":
        return "money on the platform's financial account", "balance"
    if not facts.enrolled and state not in ("closed", "rejected"):
        return "nothing: it is followed, not enrolled, so nothing happens by itself", "operator"
    return _stage_waits(facts, state)


def _stage_waits(facts: Facts, state: str) -> tuple[str | None, str | None]:
    match state:
        case "enrolled":
            return "the account's first appearance at Stripe", "stripe"
        case "onboarding" | "restricted":
            due = lifecycle.holder_must_act(facts)
            if due:
                return "the holder to provide: " + ", ".join(str(r.get("what")) for r in due[:5]), "holder"
            if state == "restricted":
                return "Stripe to give the capabilities back: " + ", ".join(_inactive(facts)), "stripe"
            return "the holder to finish onboarding", "holder"
        case "verifying":
            return "Stripe's verification of: " + ", ".join(_inactive(facts)), "stripe"
        case "activated":
            return _after(facts, "financial_account/1", "the financial account to open")
        case "provisioned":
            if any(f.status == "returned" for f in facts.fundings.values()):
                return "a decision: the funding came back after it was posted", "operator"
            if any(how.startswith("rejected") for k, how in facts.intents.items() if k.startswith("funding/")):
                return "a decision: the programme allows no further funding attempt", "operator"
            return "the outbound payment of the first funding", "stripe"
        case "funding":
            return "the funding to be posted and the balance to be read back", "stripe"
        case "funded":
            if facts.cardholder is not None and not facts.cardholder.ok:
                return "the cardholder's requirements to be met", "holder"
            return _after(facts, "cardholder/1", "the cardholder to be created")
        case "cardholder_ready":
            if facts.cards:
                return "the card to become active", "operator"
            return _after(facts, "card/1", "the card to be created")
        case _:
            return None, None


def _after(facts: Facts, intent: str, what: str) -> tuple[str, str]:
    if facts.intents.get(intent, "").startswith("rejected"):
        return f"a decision: Stripe refused what should bring {what}", "operator"
    return what, "stripe"


def _inactive(facts: Facts) -> list[str]:
    return [f"{path} ({c.status})" for path, c in sorted(facts.capabilities.items()) if c.status != "active"][:6]


def _open_intent(facts: Facts) -> str | None:
    kinds = {"financial_account": "create_financial_account", "funding": "create_outbound_payment"}
    kinds |= {"cardholder": "create_cardholder", "card": "create_card"}
    for intent, how in facts.intents.items():
        if how == "issued":
            return kinds.get(intent.split("/", maxsplit=1)[0])
    return None


def _plain(state: str, what: str | None, who: str | None, *, overdue: bool, error: Mapping[str, Any] | None) -> str:
    if what is None:
        said = f"The account is {state}. It waits for nothing."
    else:
        late = " The deadline has passed." if overdue else ""
        said = f"The account is {state}. It waits for {what} (who: {who}).{late}"
    if error is not None and error.get("error"):
        said += f" Last error of {error.get('kind')}: {error['error'].get('message')} [{error['error'].get('code')}]"
    return said


def _suggestions(account: str, state: str, facts: Facts, error: Mapping[str, Any] | None) -> list[str]:
    found: list[str] = []
    if facts.hold:
        found.append(f"cardrail accounts release {account} --reason '...' --yes")
    if error is not None and error.get("status") in ("parked", "rejected"):
        found.append(f"cardrail commands retry {error.get('command_id')} --yes")
    if not facts.enrolled and state not in ("closed", "rejected"):
        found.append(f"cardrail accounts adopt {account} --yes")
    found += [
        f"cardrail accounts journal {account}",
        f"cardrail reconcile --account {account} --yes",
        f"cardrail accounts rebuild {account}",
    ]
    return found[:3]


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
