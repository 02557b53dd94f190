"""The account's own machine: the stages, their entry tests, and the command that leads on from each.

The stage is a pure function of the facts, and the next command a pure function of stage, facts and programme. So any
order of delivery ends in one stage, a stage can fall back when Stripe says so, and since an intent is named only once,
nothing is done twice when it comes forward again.
"""

from typing import Any

import msgspec

from app.machines.commands import Command, Money
from app.machines.events import Json
from app.machines.kernel import Machine, Object
from app.machines.programme import Programme

STAGES = (
    "enrolled",
    "onboarding",
    "verifying",
    "activated",
    "provisioned",
    "funding",
    "funded",
    "cardholder_ready",
    "live",
)
OFF = ("restricted", "rejected", "closed")

LIFECYCLE = Machine(
    "lifecycle",
    {
        "enrolled": ("onboarding", *OFF),
        "onboarding": ("verifying", *OFF),
        "verifying": ("activated", "onboarding", *OFF),
        "activated": ("provisioned", "verifying", *OFF),
        "provisioned": ("funding", "activated", *OFF),
        "funding": ("funded", "provisioned", *OFF),
        "funded": ("cardholder_ready", "provisioned", *OFF),
        "cardholder_ready": ("live", "funded", *OFF),
        "live": ("cardholder_ready", *OFF),
        "restricted": ("enrolled", "rejected", "closed"),
        "rejected": ("enrolled", "closed"),
        "closed": (),
    },
    doc="The account: from enrollment to a live card. Restricted and rejected accounts come back where the facts put them.",
)

GONE = frozenset({"failed", "canceled", "returned"})
"""States of an outbound payment that brought no money."""
GIVEN_UP = "rejected:discarded"
"""How an attempt went that a person gave up: perhaps the money did move, so none follows until a person allows it."""
GIVEN_UP_ONCE = "rejected:discarded_then_allowed"
"""The same, once a person has allowed another attempt."""
FUNDINGS_KEPT = 50
"""The newest fundings that are over; older ones no longer decide anything."""


class Capability(msgspec.Struct, frozen=True):
    """Status of one capability as Stripe says it, with the codes that explain it."""

    status: str
    codes: tuple[str, ...] = ()


class Balance(msgspec.Struct, frozen=True, omit_defaults=True):
    """The financial account's balance in minor units per currency, and when it was read (milliseconds)."""

    available: dict[str, int] = {}
    inbound_pending: dict[str, int] = {}
    outbound_pending: dict[str, int] = {}
    at: int = 0


class Thing(msgspec.Struct, frozen=True, omit_defaults=True):
    """The little that the lifecycle must know of an object. ``at`` is when it was last observed, milliseconds.

    ``why`` says what keeps a cardholder from being ``ok``, or Stripe's reason for where a funding stands; ``replaces`` is the card that a card stands in for, and
    ``lost`` the reason when that one was lost or stolen.
    """

    id: str
    status: str
    at: int = 0
    amount: int = 0
    ok: bool = True
    why: str = ""
    replaces: str = ""
    lost: str = ""


class Facts(msgspec.Struct, omit_defaults=True):
    """All that stages and next commands are decided from. Holds no personal data."""

    enrolled: bool = False
    enrollment: str | None = None
    reference: str | None = None
    country: str | None = None
    state: str = "enrolled"
    since: int = 0
    seen: bool = False
    closed: bool = False
    capabilities: dict[str, Capability] = {}
    ever: dict[str, str] = {}
    requirements: list[Json] = []
    future_requirements: list[Json] = []
    financial_account: Thing | None = None
    balance: Balance | None = None
    fundings: dict[str, Thing] = {}
    cardholder: Thing | None = None
    cards: dict[str, Thing] = {}
    intents: dict[str, str] = {}
    allowed: dict[str, int] = {}
    topups: int = 0
    topup_losses: int = 0
    topup_day: int = 0
    topup_moved: int = 0
    hold: Json | None = None
    first_spend: str | None = None


def absorb(facts: Facts, held: Object) -> None:
    """Take over what an object's new state means for the account."""
    match held.kind:
        case "account":
            _account(facts, held)
        case "financial_account":
            _financial_account(facts, held)
        case "outbound_payment":
            _funding_seen(facts, held)
        case "cardholder":
            _cardholder(facts, held)
        case "card":
            facts.cards[held.object_id] = _card(held)
        case "authorization" | "received_debit" | "issuing_transaction" if facts.first_spend is None:
            if held.kind != "authorization" or held.data.get("approved"):
                facts.first_spend = held.object_id
        case _:
            pass


def _funding_seen(facts: Facts, held: Object) -> None:
    """Keep since when the payment is known to be where it is: later readings of the same do not make it younger."""
    amount = held.data.get("amount")
    value = amount.get("value") if isinstance(amount, dict) else 0
    before = facts.fundings.get(held.object_id)
    at = min(before.at, held.observed_at) if before and before.status == held.state else held.observed_at
    why = str(held.data.get("reason") or "")
    facts.fundings[held.object_id] = Thing(
        held.object_id, held.state, at, value if isinstance(value, int) else 0, why=why
    )
    over = sorted((f.at, f.id) for f in facts.fundings.values() if f.status in ("posted", "failed", "canceled"))
    for _, old in over[:-FUNDINGS_KEPT]:
        del facts.fundings[old]


def _account(facts: Facts, held: Object) -> None:
    data: dict[str, Any] = held.data
    facts.seen = True
    facts.closed = held.state == "closed"
    facts.country = data.get("country") or facts.country
    for path, raw in (data.get("capabilities") or {}).items():
        capability = Capability(raw.get("status", "pending"), tuple(raw.get("codes") or ()))
        facts.capabilities[path] = capability
        if capability.status == "active" or (capability.status == "pending" and path not in facts.ever):
            facts.ever[path] = capability.status
    facts.requirements = data.get("requirements", facts.requirements) or []
    facts.future_requirements = data.get("future_requirements", facts.future_requirements) or []


def _financial_account(facts: Facts, held: Object) -> None:
    own = facts.financial_account
    if held.data.get("type") not in (None, "storage"):
        return
    if own is not None and own.id != held.object_id and own.status != "closed":
        return
    if own is not None and own.id != held.object_id and held.state == "closed":
        return
    facts.financial_account = Thing(held.object_id, held.state, held.observed_at)
    balance: Any = held.data.get("balance")
    if isinstance(balance, dict) and (facts.balance is None or held.observed_at >= facts.balance.at):
        parts = {k: balance.get(k) or {} for k in ("available", "inbound_pending", "outbound_pending")}
        facts.balance = Balance(**parts, at=held.observed_at)


def _cardholder(facts: Facts, held: Object) -> None:
    own = facts.cardholder
    if own is None or own.id == held.object_id:
        ok = held.state == "active" and not held.data.get("disabled_reason")
        due = held.data.get("past_due")
        why = ", ".join(map(str, due)) if isinstance(due, list) and due else str(held.data.get("disabled_reason") or "")
        facts.cardholder = Thing(held.object_id, held.state, held.observed_at, ok=ok, why="" if ok else why)


def _card(held: Object) -> Thing:
    reason = held.data.get("replacement_reason")
    return Thing(
        held.object_id,
        held.state,
        held.observed_at,
        replaces=str(held.data.get("replacement_for") or ""),
        lost=str(reason) if reason in ("lost", "stolen") else "",
    )


def stage(facts: Facts, programme: Programme) -> str:
    """Where the account stands, from the facts alone."""
    if facts.closed:
        return "closed"
    if not facts.seen:
        return "enrolled"
    needed = {path: facts.capabilities.get(path) for path in programme.required_capabilities}
    if any(c is not None and c.status in ("rejected", "unsupported") for c in needed.values()):
        return "rejected"
    if not all(c is not None and c.status == "active" for c in needed.values()):
        return _before_active(facts, needed)
    return _after_active(facts)


def _before_active(facts: Facts, needed: dict[str, Capability | None]) -> str:
    some_active = any(c is not None and c.status == "active" for c in needed.values())
    fell = any(
        c is not None and c.status == "restricted" and (path in facts.ever or some_active) for path, c in needed.items()
    )
    if fell or all(facts.ever.get(path) == "active" for path in needed):
        return "restricted"
    if holder_must_act(facts) or any(c is None or c.status == "restricted" for c in needed.values()):
        return "onboarding"
    return "verifying"


def _after_active(facts: Facts) -> str:
    account = facts.financial_account
    if account is None or account.status != "open":
        return "activated"
    alive = [f for f in facts.fundings.values() if f.status not in GONE]
    if not alive:
        return "provisioned"
    posted = [f for f in alive if f.status == "posted"]
    if not posted or facts.balance is None or facts.balance.at < min(f.at for f in posted):
        return "funding"
    if facts.cardholder is None or not facts.cardholder.ok:
        return "funded"
    if not any(card.status == "active" for card in facts.cards.values()):
        return "cardholder_ready"
    return "live"


def holder_must_act(facts: Facts) -> list[Json]:
    """The requirements that the account holder must meet now."""
    due = ("currently_due", "past_due")
    return [r for r in facts.requirements if r.get("who") == "user" and r.get("deadline") in due]


def next_command(account_id: str, facts: Facts, programme: Programme) -> Command | None:
    """The one automatic command that leads on from here, or None when somebody else must act first.

    Never for an account that is not enrolled here, never a second command under one intent; a further attempt only
    where the programme's rule allows it.
    """
    if not facts.enrolled:
        return None
    command = _wanted(account_id, facts, programme)
    if command is None or command.kind not in programme.steps or command.intent in facts.intents:
        return None
    return command


def replaced(facts: Facts) -> list[Command]:
    """The cards to cancel because the card that replaces them is active now; each is canceled once."""
    found = []
    for card in facts.cards.values() if facts.enrolled else ():
        old = facts.cards.get(card.replaces)
        intent = f"replaced/{card.replaces}"
        if card.status == "active" and old is not None and old.status != "canceled" and intent not in facts.intents:
            params: Json = {"card": old.id, "status": "canceled"}
            if card.lost:
                params["cancellation_reason"] = card.lost
            found.append(Command(kind="update_card", intent=intent, params=params))
    return found


STEPS = {
    "activated": ("financial_account", "create_financial_account"),
    "provisioned": ("funding", "create_outbound_payment"),
    "funded": ("cardholder", "create_cardholder"),
    "cardholder_ready": ("card", "create_card"),
}
"""What leads on from a stage: the noun of its intents and the kind of its command."""


def attempts(facts: Facts, noun: str) -> list[str]:
    """How each attempt at a step went, first one first."""
    return [how for intent, how in facts.intents.items() if intent.startswith(f"{noun}/")]


def of_step(intent: str) -> bool:
    """Whether this is an attempt at a step: its answer counts, though an older release issued it where this one would not."""
    return intent.partition("/")[0] in {noun for noun, _ in STEPS.values()}


def attempted(facts: Facts, kind: str) -> bool:
    """Whether the step with this kind of command was attempted."""
    return any(attempts(facts, noun) for noun, step in STEPS.values() if step == kind)


def allow(facts: Facts, kind: str) -> None:
    """One more attempt at the step with this kind of command may follow; without an attempt yet, the first one may anyway."""
    if not attempted(facts, kind):
        return
    facts.allowed[kind] = facts.allowed.get(kind, 0) + 1
    for noun, step in STEPS.values():
        for intent, how in facts.intents.items():
            if step == kind and intent.startswith(f"{noun}/") and how == GIVEN_UP:
                facts.intents[intent] = GIVEN_UP_ONCE


def failed_step(facts: Facts) -> str | None:
    """The step at which the account stands because every attempt at it brought nothing; only a person allows another."""
    noun, kind = STEPS.get(facts.state, ("", ""))
    tried = attempts(facts, noun)
    return kind if tried and all(_lost(facts, how, returned=True) for how in tried) else None


def _attempt(facts: Facts, noun: str, kind: str) -> str:
    """The intent of the attempt that counts: a further one where all before were refused and a person allowed it."""
    tried = attempts(facts, noun)
    again = len(tried) <= facts.allowed.get(kind, 0) and all(how.startswith("rejected") for how in tried)
    return f"{noun}/{len(tried) + 1 if again else max(1, len(tried))}"


def _wanted(account_id: str, facts: Facts, programme: Programme) -> Command | None:
    account = facts.financial_account
    match facts.state:
        case "activated" if account is None:
            params: Json = {"currencies": ["usdc"], "display_name": "Card wallet"}
            intent = _attempt(facts, "financial_account", "create_financial_account")
            return Command(kind="create_financial_account", intent=intent, params=params)
        case "provisioned" if account is not None:
            return _funding(account_id, account.id, facts, programme)
        case "funded" if facts.cardholder is None:
            intent = _attempt(facts, "cardholder", "create_cardholder")
            return Command(kind="create_cardholder", intent=intent, params={"enrollment": facts.enrollment})
        case "cardholder_ready" if account is not None and facts.cardholder is not None and not facts.cards:
            params = {
                "cardholder": facts.cardholder.id,
                "currency": programme.card.currency,
                "type": programme.card.type,
                "status": "active",
                "financial_account_v2": account.id,
            }
            return Command(kind="create_card", intent=_attempt(facts, "card", "create_card"), params=params)
        case _:
            return None


def _funding(account_id: str, financial_account: str, facts: Facts, programme: Programme) -> Command | None:
    """Funding attempt n+1 follows only when attempt n is known to have brought no money.

    Money that came back after it was posted needs a person who allows one more attempt, or a programme that says so.
    More attempts than the programme has need a person, and so does any after one that a person gave up.
    """
    tried, allowed = attempts(facts, "funding"), facts.allowed.get("create_outbound_payment", 0)
    again = allowed > 0 or programme.funding.after_return
    returned = any(f.status == "returned" for f in facts.fundings.values())
    if GIVEN_UP in tried or (returned and not again) or not all(_lost(facts, how, returned=again) for how in tried):
        return None
    if len(tried) >= programme.funding.attempts_max + allowed:
        return None
    amount = programme.funding.amount
    return Command(
        kind="create_outbound_payment",
        intent=f"funding/{len(tried) + 1}",
        params=funding_params(account_id, financial_account, amount),
        moves=Money(amount, "usd"),
    )


def _lost(facts: Facts, how: str, *, returned: bool = False) -> bool:
    if how.startswith("rejected"):
        return True
    payment = facts.fundings.get(how.removeprefix("settled:"))
    gone = ("failed", "canceled", "returned") if returned else ("failed", "canceled")
    return payment is not None and payment.status in gone


def funding_params(account_id: str, financial_account: str, amount: int) -> Json:
    """Parameters of a payment of ``amount`` US cents from the platform that arrives as USDC on the account."""
    return {
        "recipient": account_id,
        "payout_method": financial_account,
        "amount": {"value": amount, "currency": "usd"},
        "to_currency": "usdc",
        "description": "Card funding",
    }
