"""Top-ups: a live account that runs low gets money again by itself, when the programme says so; off by default.

Pure. One at a time: the next follows only when the one before is known to be over and the balance was read since. Each
is an intent of its own, numbered for ever, so none can be sent twice. A refusal, a return (unless the programme says
otherwise) or as many losses in a row as it allows stop it for a person to look; so does the limit of the day.
"""

from app.machines.commands import Command, Money
from app.machines.lifecycle import GIVEN_UP, Facts, funding_params
from app.machines.programme import Programme, TopUp

DAY_MS = 86_400_000
KIND = "create_outbound_payment"
LOST = ("failed", "canceled")
DAY_USED_UP = "the top-ups of the day are used up; the next follows by itself tomorrow (UTC)"


def wanted(account_id: str, facts: Facts, programme: Programme, at: int) -> Command | None:
    """The top-up that is due at ``at`` (milliseconds), if one is."""
    rule = programme.funding.top_up
    account = facts.financial_account
    if rule is None or account is None or not facts.enrolled or KIND not in programme.steps:
        return None
    if not low(facts, rule) or stopped(facts, programme, at) is not None or under_way(facts):
        return None
    return Command(
        kind=KIND,
        intent=f"topup/{facts.topups + 1}",
        params=funding_params(account_id, account.id, rule.amount),
        moves=Money(rule.amount, "usd"),
    )


def issued(facts: Facts, command: Command, at: int) -> None:
    """Count a top-up that was just issued; of the intents only the last one matters from here on."""
    last = f"topup/{facts.topups}"
    facts.topup_losses = facts.topup_losses + 1 if _lost(facts, facts.intents.pop(last, "")) else 0
    day = max(at // DAY_MS, facts.topup_day)
    moved = command.moves.value if command.moves else 0
    facts.topup_moved = moved + (facts.topup_moved if day == facts.topup_day else 0)
    facts.topup_day, facts.topups = day, facts.topups + 1


def low(facts: Facts, rule: TopUp) -> bool:
    """Whether a live account has less than the programme wants it to."""
    balance = facts.balance
    return facts.state == "live" and balance is not None and balance.available.get("usdc", 0) < rule.below


def under_way(facts: Facts) -> bool:
    """Whether money is on its way, or arrived after the balance was last read."""
    if facts.intents.get(f"topup/{facts.topups}") == "issued":
        return True
    read = facts.balance.at if facts.balance else 0
    return any(f.status == "processing" or (f.status == "posted" and f.at > read) for f in facts.fundings.values())


def stopped(facts: Facts, programme: Programme, at: int) -> str | None:
    """Why no further top-up follows by itself, in words; None when nothing stops it."""
    rule = programme.funding.top_up
    how = facts.intents.get(f"topup/{facts.topups}", "")
    if rule is None:
        return "the programme has no top-ups"
    if how == GIVEN_UP:
        return "the last top-up was given up"
    if how.startswith("rejected"):
        return f"Stripe refused the last top-up ({how.partition(':')[2]})"
    if not programme.funding.after_return and any(f.status == "returned" for f in facts.fundings.values()):
        return "a funding came back after it was posted"
    if _lost(facts, how) and facts.topup_losses + 1 >= programme.funding.attempts_max:
        return "the last top-ups failed, and the programme allows no further attempt"
    moved = facts.topup_moved if at // DAY_MS <= facts.topup_day else 0
    if moved + rule.amount > rule.per_day:
        return DAY_USED_UP
    return None


def _lost(facts: Facts, how: str) -> bool:
    payment = facts.fundings.get(how.removeprefix("settled:"))
    return payment is not None and payment.status in LOST
