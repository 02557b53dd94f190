"""explain: for every account its stage, what it waits for and whom, what comes next, and what would help.

A state without an answer is a bug; a test walks all of them. Pure: a row of ``views.account`` and the clock come in as
arguments. What stops an account is looked for from the strongest to the weakest: a hold, something parked, a brake, an
answer of Stripe that is outstanding, and then what its stage waits for.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from app.machines import lifecycle, topup
from app.machines.lifecycle import Facts
from app.machines.programme import Programme
from app.ops import closing, plain
from app.ops.facts import facts_read

Row = Mapping[str, Any]
Told = dict[str, Any]

COMMANDS_MAX = 3
OFF = ("closed", "rejected")
INTENTS = dict([*lifecycle.STEPS.values(), ("topup", topup.KIND)])


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """The last thing that went wrong and is not over. ``what``: command or event; ``kind``: of command, or event type."""

    what: str
    id: str
    kind: str
    status: str
    code: str
    message: str
    due_at: datetime | None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """The next call to Stripe that is due or under way by itself."""

    id: str
    kind: str
    status: str
    due_at: datetime
    attempts: int


class Waits(msgspec.Struct, frozen=True):
    """What for, whom, and the commands that would help, most helpful first."""

    what: str
    who: str
    commands: tuple[str, ...] = ()


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """All that an explanation looks at."""

    account: str
    state: str
    since: datetime
    facts: Facts
    hold: Mapping[str, Any] | None
    brakes: tuple[Mapping[str, Any], ...]
    error: Error | None
    call: Call | None
    programme: Programme
    platform: str | None = None
    broken: bool = False

    @property
    def upcoming(self) -> str | None:
        """The kind of the next command that goes out by itself: those that follow are written with what they follow."""
        return self.call.kind if self.call is not None else _open_intent(self.facts)


def situation(row: Row, programme: Programme, platform: str | None = None) -> Situation:
    """From a row of ``views.account`` whose JSON is parsed. ``platform``: the platform's own account."""
    error, call = None, None
    if row["error"]:
        known: Mapping[str, Any] = row["error"]
        error = Error(
            what=row["error_what"],
            id=row["error_id"],
            kind=row["error_kind"],
            status=row["error_status"],
            code=str(known.get("code") or "unknown"),
            message=str(known.get("message") or ""),
            due_at=row["error_due_at"],
        )
    if row["call_id"]:
        call = Call(
            id=row["call_id"],
            kind=row["call_kind"],
            status=row["call_status"],
            due_at=row["call_due_at"],
            attempts=row["call_attempts"],
        )
    known_facts = facts_read(row["facts"])
    return Situation(
        account=row["account_id"],
        state=row["state"],
        since=row["since"],
        facts=known_facts or Facts(state=row["state"], enrolled=bool(row["enrolled"])),
        hold=row["hold"],
        brakes=tuple(row["brakes"] or ()),
        error=error,
        call=call,
        programme=programme,
        platform=platform,
        broken=known_facts is None,
    )


def explain(seen: Situation, now_ms: int) -> Told:
    """``{stage, since, waiting_for, next_command, next_call, last_error, requirements, plain, commands}``.

    ``waiting_for`` is None only where nothing is waited for: live, closed, and the platform's own account. Only what
    is enrolled has deadlines.
    """
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    waits = _waits(seen)
    limit_s = getattr(seen.programme.deadlines, seen.state, None) if seen.facts.enrolled else None
    deadline = None if limit_s is None else datetime.fromtimestamp(seen.since.timestamp() + limit_s, UTC)
    overdue = deadline is not None and now > deadline
    waiting: Told | None = None
    if waits is not None:
        until = None if deadline is None else _time(deadline)
        waiting = {"what": waits.what, "who": waits.who, "since": _time(seen.since), "deadline": until}
        waiting["overdue"] = overdue
    following = _next_call(seen)
    said = plain.error(seen.error.code, seen.error.message) if seen.error else None
    return {
        "stage": seen.state,
        "since": _time(seen.since),
        "waiting_for": waiting,
        "next_command": seen.upcoming,
        "next_call": following,
        "error_in_words": said,
        "requirements": closing.requirements(msgspec.to_builtins(seen.facts)),
        "plain": _plain(seen, waits, following, overdue=overdue),
        "commands": _commands(seen, waits),
    }


def _waits(seen: Situation) -> Waits | None:
    own = seen.account == seen.platform
    return (
        _stopped(seen)
        or _outstanding(seen)
        or (None if own else _followed(seen) or _never_left(seen) or _stage_waits(seen))
    )


def _stopped(seen: Situation) -> Waits | None:
    """What a person must settle before anything goes on."""
    if seen.broken:
        repair = f"cardrail accounts rebuild {seen.account} --repair --reason WHY"
        return Waits("a person to write anew what is stored, which cannot be read", "operator", (repair,))
    if seen.hold:
        release = f"cardrail accounts release {seen.account} --reason WHY --yes"
        return Waits(
            f"the release of the hold by {seen.hold.get('by')}: {seen.hold.get('reason')}", "operator", (release,)
        )
    error = seen.error
    if error is not None and error.status == "parked":
        return _parked(seen, error)
    brake = next((b for b in seen.brakes if b["step"] in ("all", seen.upcoming)), None)
    if brake is not None and seen.upcoming is not None:
        what = f"the release of the brake on {brake['step']}, set by {brake['by']}: {brake['reason']}"
        release = f"cardrail brakes release {brake['step']} --reason WHY --yes"
        return Waits(what, "operator", (release, "cardrail parked list"))
    return None


def _parked(seen: Situation, error: Error) -> Waits:
    after = ""
    if error.what == "command":
        after = "; once discarded, another follows only when it is asked for anew"
        if error.kind in INTENTS.values():
            after = f"; once discarded, another follows only after cardrail accounts retry {seen.account}"
    if error.what == "event":
        look, again = f"cardrail events show {error.id}", f"cardrail events replay {error.id} --yes"
        over = f"cardrail events ignore {error.id} --reason WHY --yes"
    else:
        look, again = f"cardrail commands show {error.id}", f"cardrail commands retry {error.id} --yes"
        over = f"cardrail commands discard {error.id} --reason WHY --yes"
    return Waits(
        f"a person to settle the parked {error.what} {error.kind} ({error.code}){after}",
        "operator",
        (look, again, over),
    )


def _outstanding(seen: Situation) -> Waits | None:
    """What was begun with Stripe and is not known to be done."""
    error, call = seen.error, seen.call
    if error is not None and error.code == "insufficient_funds" and error.status in ("pending", "in_flight"):
        again = f"cardrail commands retry {error.id} --yes"
        return Waits("money on the platform's financial account", "balance", (again, "cardrail doctor"))
    if call is not None and call.status == "unknown":
        show, again = f"cardrail commands show {call.id}", f"cardrail commands retry {call.id} --yes"
        what = f"Stripe to tell what became of {call.kind}: it is asked again under the same key, or read back"
        return Waits(what, "stripe", (show, again))
    if error is not None and error.status in ("pending", "in_flight"):
        again = "retry" if error.what == "command" else "replay"
        look = f"cardrail {error.what}s show {error.id}"
        return Waits(
            f"Stripe to answer {error.kind} ({error.code})",
            "stripe",
            (look, f"cardrail {error.what}s {again} {error.id} --yes"),
        )
    return None


def _followed(seen: Situation) -> Waits | None:
    if not seen.facts.enrolled and seen.state not in OFF:
        adopt = f"cardrail accounts adopt {seen.account} --yes"
        return Waits("nothing by itself: it is followed, not enrolled", "operator", (adopt,))
    return None


def _never_left(seen: Situation) -> Waits | None:
    """A step that the programme runs and that nobody wrote: it did not run it when the account came to its stage."""
    following = lifecycle.next_command(seen.account, seen.facts, seen.programme)
    if following is None:
        return None
    retry = f"cardrail accounts retry {seen.account} --reason WHY --yes"
    what = f"a word to go on: the programme runs {following.kind}, but did not when the account came here"
    return Waits(what, "operator", (retry,))


def _stage_waits(seen: Situation) -> Waits | None:
    facts, state = seen.facts, seen.state
    match state:
        case "enrolled":
            return Waits("the account's first appearance at Stripe", "stripe")
        case "onboarding" | "restricted":
            due = lifecycle.holder_must_act(facts)
            if due:
                return Waits("the holder to provide: " + ", ".join(str(r.get("what")) for r in due[:5]), "holder")
            if state == "restricted":
                return Waits("Stripe to give the capabilities back: " + ", ".join(_inactive(facts)), "stripe")
            return Waits("the holder to finish onboarding", "holder")
        case "verifying":
            return Waits("Stripe's verification of: " + ", ".join(_inactive(facts)), "stripe")
        case "activated":
            return _opening_waits(seen)
        case "provisioned":
            return _funding_waits(seen)
        case "funding":
            reviewed = any(f.why == "under_review" and f.status == "processing" for f in facts.fundings.values())
            what = "the funding to be posted and the balance to be read back"
            return Waits("Stripe's review of the funding" if reviewed else what, "stripe")
        case "live":
            return _topup_waits(seen)
        case "funded":
            if facts.cardholder is not None and not facts.cardholder.ok:
                return _holder_waits(facts.cardholder)
            return _after(seen, "cardholder", "the cardholder to be created")
        case "cardholder_ready":
            return _card_waits(seen)
        case "rejected":
            return Waits("Stripe to take its refusal back: " + ", ".join(_inactive(facts)), "stripe")
        case _:
            return None


def _card_waits(seen: Situation) -> Waits:
    cards = seen.facts.cards.values()
    if not cards:
        return _after(seen, "card", "the card to be created")
    if all(card.status == "canceled" for card in cards):
        return Waits(f"a new card, asked for by POST /v1/accounts/{seen.account}/cards: all are canceled", "operator")
    still = [card.id for card in cards if card.status == "inactive"]
    thaw = tuple(f"cardrail cards thaw {seen.account} {card} --reason WHY --yes" for card in still[:1])
    return Waits("a person or a service to activate the card", "operator", thaw)


def _opening_waits(seen: Situation) -> Waits:
    own = seen.facts.financial_account
    if own is not None and own.status == "closed":
        return Waits("a decision: its financial account is closed, so nothing goes on by itself", "operator")
    return _after(seen, "financial_account", "the financial account to open")


def _topup_waits(seen: Situation) -> Waits | None:
    """A live account waits for nothing, unless it runs low and the programme tops it up."""
    facts, rule = seen.facts, seen.programme.funding.top_up
    if rule is None or not topup.low(facts, rule):
        return None
    why = topup.stopped(facts, seen.programme, facts.balance.at if facts.balance else 0)
    if why == topup.DAY_USED_UP and not topup.under_way(facts):
        return Waits(f"the next day (UTC), or a person to fund the account, which runs low: {why}", "operator")
    if why is not None and not topup.under_way(facts):
        return Waits(f"a person to fund the account, which runs low: {why}", "operator")
    return Waits("the top-up to be posted and the balance to be read back", "stripe")


def _funding_waits(seen: Situation) -> Waits:
    facts = seen.facts
    tried = lifecycle.attempts(facts, "funding")
    standing = lifecycle.next_command(seen.account, facts, seen.programme) is None and "issued" not in tried
    if any(f.status == "returned" for f in facts.fundings.values()) and standing:
        return _decision(seen, "the funding came back after it was posted")
    if tried and standing and not tried[-1].startswith(lifecycle.GIVEN_UP):
        return _decision(seen, "the programme allows no further funding attempt")
    return _after(seen, "funding", "the outbound payment of the funding")


def _decision(seen: Situation, why: str) -> Waits:
    """A person may allow one more attempt."""
    retry = f"cardrail accounts retry {seen.account} --reason WHY --yes"
    return Waits(f"a decision: {why}; it goes on only after {retry}", "operator", (retry,))


def _holder_waits(holder: lifecycle.Thing) -> Waits:
    if holder.status != "active":
        return Waits(f"the cardholder, who is {holder.status}, to become active again", "operator")
    if holder.why in ("under_review", "listed", "rejected.listed"):
        return Waits(f"Stripe's review of the cardholder ({holder.why})", "stripe")
    return Waits(f"the cardholder's requirements to be met: {holder.why or 'unknown'}", "holder")


def _after(seen: Situation, noun: str, what: str) -> Waits:
    tried, step = lifecycle.attempts(seen.facts, noun), INTENTS[noun]
    if (
        tried
        and tried[-1].startswith("rejected")
        and lifecycle.next_command(seen.account, seen.facts, seen.programme) is None
    ):
        given_up, code = tried[-1].startswith(lifecycle.GIVEN_UP), tried[-1].partition(":")[2]
        return _decision(seen, f"{step} was given up" if given_up else f"Stripe refused {step} ({code})")
    if not tried and step not in seen.programme.steps:
        return Waits(f"a person or a service to ask for {what}: the programme does not run {step}", "operator")
    return Waits(what, "stripe")


def _inactive(facts: Facts) -> list[str]:
    found = [f"{path} ({c.status})" for path, c in sorted(facts.capabilities.items()) if c.status != "active"][:6]
    return found or ["its capabilities"]


def _open_intent(facts: Facts) -> str | None:
    issued = next((intent for intent, how in facts.intents.items() if how == "issued"), "")
    return INTENTS.get(issued.partition("/")[0])


def _next_call(seen: Situation) -> Told | None:
    """What goes to Stripe by itself next: a command, or the reading of an event's object."""
    stopped = bool(seen.hold) or any(b["step"] in ("all", seen.upcoming) for b in seen.brakes)
    call, error = seen.call, seen.error
    if call is not None:
        return {
            "what": call.kind,
            "id": call.id,
            "at": _time(call.due_at),
            "attempts": call.attempts,
            "stopped": stopped,
        }
    if error is not None and error.what == "event" and error.status == "pending" and error.due_at is not None:
        return {"what": "read", "id": error.id, "at": _time(error.due_at), "attempts": None, "stopped": False}
    return None


def _plain(seen: Situation, waits: Waits | None, following: Told | None, *, overdue: bool) -> str:
    said = f"The account is {seen.state} since {seen.since:%Y-%m-%d %H:%M:%S}Z."
    if seen.account == seen.platform:
        said = "This is the platform's own account: it has no stages (cardrail doctor says how it stands)."
    said += f" It waits for {waits.what} (who: {waits.who})." if waits is not None else " It waits for nothing."
    if overdue and waits is not None:
        said += " The deadline has passed."
    if following is not None:
        stop = ", once nothing stops it" if following["stopped"] else ""
        said += f" Next call by itself: {following['what']} ({following['id']}) at {following['at']}{stop}."
    if seen.error is not None:
        in_words = plain.error(seen.error.code, seen.error.message)
        said += f" Last error, of {seen.error.kind}: {in_words} [{seen.error.code}]"
    return said


def _commands(seen: Situation, waits: Waits | None) -> list[str]:
    found = list(waits.commands) if waits is not None else []
    if waits is not None and waits.who in ("holder", "stripe"):
        found.append(f"cardrail reconcile --account {seen.account} --yes")
    if seen.error is not None and seen.error.what == "command":
        found.append(f"cardrail commands show {seen.error.id}")
    found += [
        f"cardrail accounts journal {seen.account}",
        f"cardrail accounts show {seen.account}",
        f"cardrail reconcile --account {seen.account} --yes",
        f"cardrail accounts rebuild {seen.account}",
    ]
    return list(dict.fromkeys(found))[:COMMANDS_MAX]


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
