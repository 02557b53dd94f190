"""The catalogue: what each event type means to us, in both vocabularies and both payload styles.

A type is an exact string. What is not here is unknown: kept and counted, never guessed at.
"""

from typing import Literal

import msgspec

Handling = Literal["object", "alert", "followed", "synchronous"]
"""``object``: the event tells of an object of ours; ``alert``: it is one itself; ``followed``: kept, and of no effect."""


class Entry(msgspec.Struct, frozen=True):
    """``kind`` of our object, whether a balance may have changed with it, and how the type is handled."""

    kind: str | None
    balance: bool = False
    handling: Handling = "object"


_V2 = "v2.money_management."


def _family(noun: str, kind: str, suffixes: str, *, balance: str = "") -> dict[str, Entry]:
    changing = balance.split()
    return {f"{_V2}{noun}.{s}": Entry(kind, balance=s in changing or balance == "*") for s in suffixes.split()}


def _followed(prefix: str, suffixes: str) -> dict[str, Entry]:
    return {f"{prefix}.{s}": Entry(None, handling="followed") for s in suffixes.split()}


def _accounts() -> dict[str, Entry]:
    account = Entry("account")
    parts = ["identity", "requirements", "future_requirements", "defaults"]
    found = {f"v2.core.account.{s}": account for s in ("created", "updated", "closed")}
    found |= {f"v2.core.account[{part}].updated": account for part in parts}
    for name in ("storer", "money_manager", "card_creator", "merchant", "recipient", "customer"):
        found[f"v2.core.account[configuration.{name}].updated"] = account
        found[f"v2.core.account[configuration.{name}].capability_status_updated"] = account
    found |= _followed("v2.core.account_link", "returned")
    found |= _followed("v2.core.account_person", "created updated deleted")
    return found | _followed("v2.core.account_signals", "fraudulent_website_ready")


def _money() -> dict[str, Entry]:
    out = "created under_review updated posted returned failed canceled"
    moved = "created posted returned failed canceled"
    found = _family("financial_account", "financial_account", "created updated")
    found |= _followed(_V2 + "financial_account.wallet_export", "pending ready completed")
    found |= _followed(_V2 + "financial_account_statement", "created restated")
    found |= _family("financial_address", "financial_address", "activated failed")
    found |= _family("received_credit", "received_credit", "succeeded available failed returned", balance="*")
    pulls = (
        "bank_debit_queued bank_debit_processing bank_debit_succeeded available bank_debit_failed bank_debit_returned"
    )
    found |= _family("inbound_transfer", "inbound_transfer", pulls, balance="*")
    found |= _followed(_V2 + "inbound_transfer_mandate", "created activated expired refused revoked")
    found |= _followed(_V2 + "earned_credit", "succeeded")
    found |= _family("outbound_payment", "outbound_payment", out, balance=moved)
    found |= _family("outbound_transfer", "outbound_transfer", out, balance=moved)
    found |= _family("payout_method", "payout_method", "created updated")
    intents = "created processing posted requires_action canceled pending updated"
    found |= _followed(_V2 + "payout_intent", intents)
    found |= _followed(_V2 + "recipient_verification", "created updated")
    debits = "created scheduled pending updated succeeded failed canceled returned"
    found |= _family("received_debit", "received_debit", debits, balance="*")
    found |= _followed(_V2 + "received_debit_mandate", "created updated canceled expired pending_cancellation")
    found |= _followed(_V2 + "debit_dispute", "submitted succeeded failed")
    found |= _family("transaction", "transaction", "created updated", balance="*")
    return found | _family("adjustment", "adjustment", "created", balance="*")


def _core() -> dict[str, Entry]:
    found = _followed("v2.core.approval_request", "created approved rejected canceled expired failed succeeded")
    found |= _followed("v2.core.event_destination", "ping")
    alarms = (
        "issuing_authorization_request_errors",
        "issuing_authorization_request_timeout",
        "webhook_latency",
        "event_generation_failure",
        "api_error",
        "api_latency",
        "traffic_volume_drop",
    )
    for alarm in alarms:
        for state in ("firing", "resolved"):
            found[f"v2.core.health.{alarm}.{state}"] = Entry("health_alert", handling="alert")
    return found


_ISSUING = {
    "issuing_authorization": ("authorization", "created updated"),
    "issuing_card": ("card", "created updated"),
    "issuing_cardholder": ("cardholder", "created updated"),
    "issuing_transaction": ("issuing_transaction", "created updated purchase_details_receipt_updated"),
    "issuing_dispute": ("dispute", "created updated submitted closed funds_reinstated funds_rescinded"),
    "issuing_token": ("token", "created updated"),
    "issuing_personalization_design": ("personalization_design", "activated deactivated rejected updated"),
}
_FOLLOWED_V1 = {
    "issuing_settlement": "created updated",
    "issuing_dispute_settlement_detail": "created updated",
    "issuing_fraud_liability_debit": "created",
    "account": "updated application.authorized application.deauthorized external_account.created"
    " external_account.updated external_account.deleted",
    "capability": "updated",
    "person": "created updated deleted",
    "balance": "available",
    "balance_settings": "updated",
    "topup": "created succeeded failed canceled reversed",
    "payout": "created updated paid failed canceled reconciliation_completed",
    "account_notice": "created updated",
}


def _issuing_moves_balance(kind: str, suffix: str) -> bool:
    """An updated authorization may be closed: what it held is free once the balance was read after that was heard."""
    return (
        kind == "issuing_transaction" or suffix.startswith("funds_") or (kind, suffix) == ("authorization", "updated")
    )


def _v1() -> dict[str, Entry]:
    found = {"issuing_authorization.request": Entry("authorization", handling="synchronous")}
    for noun, (kind, suffixes) in _ISSUING.items():
        found |= {f"{noun}.{s}": Entry(kind, balance=_issuing_moves_balance(kind, s)) for s in suffixes.split()}
    for prefix, suffixes in _FOLLOWED_V1.items():
        found |= _followed(prefix, suffixes)
    return found


ENTRIES: dict[str, Entry] = {**_accounts(), **_money(), **_core(), **_v1()}
"""Every literal type we know, under its canonical name or an old one."""


def canonical(event_type: str) -> str:
    """One name for one fact: a thin ``v1.`` twin and the old configuration name become what we call it."""
    twin = event_type.removeprefix("v1.")
    name = event_type if twin.startswith(("v1.", "v2.")) else twin
    return name.replace("[configuration.storer]", "[configuration.money_manager]")


def lookup(event_type: str) -> Entry | None:
    """What a type means to us; None when we do not know it."""
    return ENTRIES.get(canonical(event_type)) or ENTRIES.get(event_type)
