"""What we may ask Stripe to do: frozen, imperative, each with a deterministic identity.

A command is one intent of one account. Its id and its idempotency key follow from (account, intent) alone, so a replay,
a restart or a duplicate can only ever name the same command again.
"""

import hashlib

import msgspec

from app.machines.events import Json

KINDS = (
    "create_account",
    "create_account_link",
    "close_account",
    "create_financial_account",
    "create_outbound_payment",
    "create_cardholder",
    "update_cardholder",
    "create_card",
    "update_card",
    "create_outbound_setup_intent",
    "create_outbound_transfer",
    "cancel_outbound_transfer",
    "update_outbound_setup_intent",
    "cancel_outbound_setup_intent",
    "close_financial_account",
    "create_financial_address",
    "create_inbound_transfer",
    "archive_payout_method",
    "unarchive_payout_method",
    "disable_payout_method",
    "create_dispute",
    "update_dispute",
    "submit_dispute",
    "update_token",
)
"""Every kind of write we know to send. ``stripe/requests.py`` has one builder for each; a test holds the two equal."""


class Money(msgspec.Struct, frozen=True):
    """An amount in minor units (USDC counts two decimals, as Stripe does) and its lowercase currency."""

    value: int
    currency: str


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One Stripe write that we intend.

    ``intent`` is the reason in one stable string (``fund/1``: the first attempt at the first funding).
    ``moves`` is set when the command moves money, for the caps. ``automatic`` is false for what a person asked for.
    """

    kind: str
    intent: str
    params: Json
    object_id: str | None = None
    moves: Money | None = None
    automatic: bool = True


def command_id(account_id: str, intent: str) -> str:
    """The id of the one command that may ever exist for this intent of this account."""
    return "cmd_" + hashlib.sha256(f"{account_id}|{intent}".encode()).hexdigest()[:26]


def idempotency_key(command: str) -> str:
    """The key sent to Stripe, first and for ever unless v1 shows that it holds an answer under it that made nothing."""
    return f"cardrail-{command}"


def key_after_500(key: str) -> str | None:
    """The one key that may follow a v1 500 which is replayed under ``key`` and, read back, made nothing."""
    return None if key.endswith("-2") else f"{key}-2"


def key_after_refusal(command: str, key: str) -> str:
    """The key after a refusal of v1 that is replayed under ``key``: ``-r1``, ``-r2`` and so on."""
    prefix = f"{idempotency_key(command)}-r"
    count = int(key.removeprefix(prefix).split("-")[0]) if key.startswith(prefix) else 0
    return f"{prefix}{count + 1}"
