"""Magic values: plus-tags in ``contact_email`` decide how an account fares (``owner+kyc_slow@example.com``).

| tag | what happens |
|---|---|
| (none) | requirements due, then verification, then every requested capability active |
| ``+kyc_restricted`` | the prepaid-card capability ends ``restricted`` (``requirements_past_due``), a past-due and a currently-due requirement await the user |
| ``+kyc_slow`` | stays pending until ``POST /_sandbox/accounts/{id}/kyc {"outcome": "verified" or "restricted" or "rejected" or "unsupported"}`` |
| ``+payment_fails_once`` | the first outbound payment to it fails (``unknown_failure``) and the funds come back; later ones post |
| ``+payment_returned`` | every outbound payment to it posts and is returned a step later |
| ``+payments_wait`` | outbound payments to it stay ``processing`` until ``POST /_sandbox/outbound/{id} {"status": ...}`` |
| ``+transfers_wait`` | the same of its own outbound transfers |
| ``+setup_slow`` | its outbound setup intents need action first and succeed after 20 steps, without any event |
| ``+setup_waits`` | its outbound setup intents need action until they are updated or canceled |
| ``+fa_slow`` | its financial accounts open after 20 steps instead of one |

Tags combine: ``a+kyc_slow+fa_slow@example.com``.
"""

from app.sandbox import capabilities
from app.sandbox.calls import Record
from app.sandbox.world import World

FA_SLOW_STEPS = 20
OUTCOMES = ("verified", "restricted", "rejected", "unsupported")


def tagged(account: Record | None, tag: str) -> bool:
    """Whether an account carries a plus-tag."""
    if account is None:
        return False
    local = str(account.data.get("contact_email") or "").partition("@")[0]
    return tag in local.split("+")[1:]


def waits(world: World, flow: Record) -> bool:
    """Whether an outbound flow moves on by control only."""
    recipient = world.records.get(flow.data["to"].get("recipient", ""))
    return tagged(recipient, "payments_wait") or (
        recipient is None and tagged(world.records.get(flow.account), "transfers_wait")
    )


def onboard(world: World, account: Record) -> None:
    """What follows the creation: the holder must act, then Stripe checks, then the outcome."""
    restricts = capabilities.paths(account)
    due = [
        capabilities.requirement(field, "user", "currently_due", restricts)
        for field in ("identity.individual.given_name", "identity.individual.id_numbers")
    ]
    capabilities.require(world, account, due, quiet=True)
    world.later(submitted, world, account)


def submitted(world: World, account: Record) -> None:
    """The holder gave what was due; Stripe looks at it."""
    if account.data["closed"]:
        return
    restricts = capabilities.paths(account)
    entry = capabilities.requirement("identity.individual.id_numbers", "stripe", "eventually_due", restricts)
    world.thin("[identity].updated", account)
    capabilities.require(world, account, [entry])
    if not tagged(account, "kyc_slow"):
        restricted = tagged(account, "kyc_restricted")
        world.later(decide, world, account, "restricted" if restricted else "verified")


def decide(world: World, account: Record, outcome: str) -> None:
    """The end of a verification; can be told again later with another outcome."""
    if account.data["closed"]:
        return
    account.hidden["kyc"] = outcome
    wanted = dict.fromkeys(capabilities.paths(account), "active" if outcome == "verified" else outcome)
    if outcome == "restricted":
        wanted = {full: "restricted" if full == capabilities.PREPAID else "active" for full in wanted}
    capabilities.change(world, account, wanted)
    prepaid = [capabilities.PREPAID]
    entries = [
        capabilities.requirement("identity.individual.documents.primary_verification", "user", "past_due", prepaid),
        capabilities.requirement("identity.individual.address.line1", "user", "currently_due", prepaid),
    ]
    capabilities.require(world, account, entries if outcome == "restricted" else [])
