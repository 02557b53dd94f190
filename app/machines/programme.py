"""The platform's policy as data: which steps run by themselves, with what amounts, under which caps.

Read once from TOML at the edge and handed in; machines never look anything up. Amounts are minor units (cents; USDC
counts two decimals), windows are seconds.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

STEPS = ("create_account", "create_financial_account", "create_outbound_payment", "create_cardholder", "create_card")
"""The steps of the lifecycle that can run by themselves, by the kind of their command."""

HARD_CAP = 1_000_000
"""10,000.00 USD per authorization: fixed by Stripe, a programme can only be stricter."""


LIMIT_MAX = 10**12
VELOCITY_WINDOW_MAX_S = 31 * 86_400


class TopUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A live account with less than ``below`` (USDC cents) gets ``amount`` more, at most ``per_day`` a UTC day."""

    below: int
    amount: int
    per_day: int


class Funding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first funding: USD from the platform becomes USDC on the account. ``after_return``: whether another attempt may
    follow by itself when one came back after it was posted. ``top_up``: none without it.
    """

    amount: int = 10_000
    attempts_max: int = 2
    after_return: bool = False
    top_up: TopUp | None = None


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The card that the lifecycle creates."""

    type: str = "virtual"
    currency: str = "usd"


class Caps(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ceilings on money that moves by itself or on request; a command above one is parked, never sent.

    A forced replay whose commands would move more than ``force_unconfirmed`` waits for a second admin's key.
    """

    per_command: int = 1_000_000
    per_account_day: int = 1_000_000
    per_programme_day: int = 100_000_000
    force_unconfirmed: int = 100_000


class Brakes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a step is stopped by itself: ``errors`` of its commands refused or parked within ``window_s``, of at least
    ``accounts`` different accounts, and no fewer than those that were done. ``errors = 0``: never. ``cap``: also when the
    programme's cap of the day is reached. Only a person releases.
    """

    errors: int = 10
    window_s: int = 300
    accounts: int = 3
    cap: bool = True


class Platform(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The platform's own money: below ``low_balance`` US cents a warning is given; 0: never."""

    low_balance: int = 100_000


class Velocity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much one card may ask for within a window."""

    window_s: int = 60
    count_max: int = 30
    amount_max: int = HARD_CAP


class Authorization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules of the real-time decision. Limits are cents; an absent one binds nobody, an empty list allows all.

    ``require_pin`` is about purchases in person, where only a chip brings a PIN; the other ``require_...`` are about all
    others. ``cash_withdrawal`` covers cash machines, cash at a counter, and cashback.
    """

    default_approve: bool = False
    deadline_ms: int = 1_500
    per_authorization: int = HARD_CAP
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    yearly: int | None = None
    all_time: int | None = None
    allowed_categories: tuple[str, ...] = ()
    blocked_categories: tuple[str, ...] = ()
    allowed_countries: tuple[str, ...] = ()
    blocked_countries: tuple[str, ...] = ()
    require_cvc: bool = False
    require_expiry: bool = False
    require_postal_code: bool = False
    require_address: bool = False
    require_three_d_secure: bool = False
    require_pin: bool = False
    partial: bool = True
    cash_withdrawal: bool = True
    velocity: Velocity = Velocity()


class Deadlines(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """After how many seconds in a stage an account counts as stuck."""

    enrolled: int = 300
    onboarding: int = 7 * 86_400
    verifying: int = 2 * 86_400
    activated: int = 900
    provisioned: int = 3_600
    funding: int = 86_400
    funded: int = 900
    cardholder_ready: int = 900
    restricted: int = 7 * 86_400


class Programme(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One programme. The defaults are the built-in programme: every step runs by itself."""

    name: str = "default"
    countries: tuple[str, ...] = ("AR", "MX")
    steps: tuple[str, ...] = STEPS
    required_capabilities: tuple[str, ...] = (
        "money_manager.business_storage.inbound.usdc",
        "money_manager.business_storage.outbound.usdc",
        "card_creator.commercial.lead.prepaid_card",
    )
    funding: Funding = Funding()
    card: Card = Card()
    caps: Caps = Caps()
    brakes: Brakes = Brakes()
    platform: Platform = Platform()
    authorization: Authorization = Authorization()
    deadlines: Deadlines = Deadlines()


FOLDED = ("steps", "required_capabilities", "funding", "card")
"""What the fold asks of a programme; nothing else of it changes what an event makes of an account."""


def folding(programme: Programme) -> dict[str, Any]:
    """Those parts as plain data, to be kept beside the log."""
    return {name: msgspec.to_builtins(getattr(programme, name)) for name in FOLDED}


def folded_under(kept: Mapping[str, Any]) -> Programme:
    """The programme as far as the fold asks, from what :func:`folding` kept. Raises msgspec.ValidationError."""
    return msgspec.convert(dict(kept), Programme)


def fingerprint(programme: Programme) -> str:
    """Names those parts: two programmes that fold alike have one name."""
    return hashlib.sha256(msgspec.json.encode(folding(programme), order="deterministic")).hexdigest()[:12]


def faults(programme: Programme) -> list[str]:
    """What is wrong with a programme, one sentence each; empty when it can be run."""
    found = [f"steps: {s!r} is no step (known: {', '.join(STEPS)})" for s in programme.steps if s not in STEPS]
    if not programme.countries or any(len(c) != 2 or c != c.upper() for c in programme.countries):
        found.append("countries: a list of upper-case two-letter country codes is needed")
    if programme.funding.amount <= 0:
        found.append("funding.amount: must be a positive number of cents")
    rule = programme.funding.top_up
    if rule is not None and not 0 < rule.amount <= min(rule.per_day, programme.caps.per_command):
        found.append("funding.top_up.amount: must be positive, and no more than per_day and caps.per_command")
    if rule is not None and rule.below <= 0:
        found.append("funding.top_up.below: must be a positive number of cents")
    if programme.caps.force_unconfirmed < 0:
        found.append("caps.force_unconfirmed: must be 0 or more cents")
    if not 1 <= programme.funding.attempts_max <= 10:
        found.append("funding.attempts_max: must be between 1 and 10")
    if programme.funding.amount > programme.caps.per_command:
        found.append("caps.per_command: below funding.amount, so no funding could ever leave")
    if min(programme.caps.per_command, programme.caps.per_account_day, programme.caps.per_programme_day) <= 0:
        found.append("caps: each must be a positive number of cents")
    if not 0 <= programme.brakes.errors <= 10_000 or not 1 <= programme.brakes.window_s <= 86_400:
        found.append("brakes: errors must be between 0 and 10000, window_s between 1 and 86400")
    return found + [f"authorization.{fault}" for fault in rule_faults(programme.authorization)]


def rule_faults(rules: Authorization) -> list[str]:
    """What is wrong with the rules of the real-time decision, one sentence each."""
    found = []
    if not 0 < rules.per_authorization <= HARD_CAP:
        found.append(f"per_authorization: must be between 1 and {HARD_CAP}")
    if not 100 <= rules.deadline_ms <= 1_900:
        found.append("deadline_ms: must be between 100 and 1900")
    for name in ("daily", "weekly", "monthly", "yearly", "all_time"):
        limit: int | None = getattr(rules, name)
        if limit is not None and not 0 <= limit <= LIMIT_MAX:
            found.append(f"{name}: must be between 0 and {LIMIT_MAX}")
    velocity = rules.velocity
    if not 1 <= velocity.window_s <= VELOCITY_WINDOW_MAX_S:
        found.append(f"velocity.window_s: must be between 1 and {VELOCITY_WINDOW_MAX_S}")
    if velocity.count_max < 0 or not 0 <= velocity.amount_max <= LIMIT_MAX:
        found.append("velocity: count_max and amount_max must not be negative, nor absurd")
    return found + [
        f"{name}: upper-case two-letter country codes are needed"
        for name in ("allowed_countries", "blocked_countries")
        if any(len(country) != 2 or country != country.upper() for country in getattr(rules, name))
    ]


def version_of(rules: Authorization) -> str:
    """A short name for exactly these rules: kept with every decision that they made."""
    return hashlib.sha256(msgspec.json.encode(rules)).hexdigest()[:12]
