"""What subscribers hear: the type of notice that a journal line makes, its body, its id and its signature.

Bodies and headers follow the Standard Webhooks specification: `{type, timestamp, data}`, signed with HMAC-SHA256.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from standardwebhooks import Webhook

from app.machines.registry import MACHINES
from app.store.notices import NoticeRow

Row = Mapping[str, Any]

TEST = "subscription.test"
OF_ACCOUNTS = ("account.state_changed", "account.held", "account.released", "account.first_spend")
TYPES = (*OF_ACCOUNTS, *sorted({f"{'stripe_account' if k == 'account' else k}.state_changed" for k in MACHINES}))
"""Every type of notice. ``account`` is our account with its lifecycle, ``stripe_account`` Stripe's own open or closed."""

_MARKS = (("held by ", "account.held"), ("released by ", "account.released"), ("first spend", "account.first_spend"))


def journal_line(row: Row) -> dict[str, Any]:
    """A journal line as everybody outside sees it."""
    return {
        "account": row["account_id"],
        "seq": row["seq"],
        "machine": row["machine"],
        "object_id": row["object_id"],
        "from": row["from_state"],
        "to": row["to_state"],
        "event_id": row["event_id"],
        "at": row["at"],
        "commands": row["commands"],
        "note": row["note"],
    }


def type_of(row: Row) -> str | None:
    """The type of notice that a journal line makes; None when it makes none."""
    if row["machine"] != "lifecycle":
        return f"{'stripe_account' if row['machine'] == 'account' else row['machine']}.state_changed"
    if row["from_state"] != row["to_state"]:
        return "account.state_changed"
    note = row["note"] or ""
    return next((name for start, name in _MARKS if note.startswith(start)), None)


def known(pattern: str) -> bool:
    """Whether a pattern of types (a type, ``card.*`` or ``*``) can match anything."""
    return any(_matches(name, pattern) for name in TYPES)


def wanted(subscription: Row, name: str, account_id: str) -> bool:
    """Whether a subscription asks for this type from this account."""
    accounts = subscription["accounts"]
    return (accounts is None or account_id in accounts) and any(_matches(name, p) for p in subscription["types"])


def _matches(name: str, pattern: str) -> bool:
    return pattern in {name, "*"} or (pattern.endswith(".*") and name.startswith(pattern[:-1]))


def notice_of(subscription_id: str, row: Row, name: str) -> NoticeRow:
    """The notice of one line for one subscription; its id is the same whenever it is made."""
    data = journal_line(row)
    return notice(subscription_id, row["account_id"], f"{row['account_id']}:{row['seq']}", name, row["at"], data)


def notice(subscription_id: str, account_id: str, what: str, name: str, at: datetime, data: object) -> NoticeRow:
    """A notice of ``what``, which names it among all that this subscription may hear."""
    digest = hashlib.sha256(f"{subscription_id}\n{what}".encode()).hexdigest()
    body = orjson.dumps({"type": name, "timestamp": at, "data": data}, option=orjson.OPT_UTC_Z).decode()
    return NoticeRow(account_id, f"msg_{digest[:32]}", subscription_id, name, body)


def headers(notice_id: str, body: str, secrets: Sequence[str], at: datetime | None = None) -> dict[str, str]:
    """The headers that prove a notice; while a secret is exchanged, it is signed with both."""
    now = at or datetime.now(UTC)
    return {
        "Content-Type": "application/json",
        "User-Agent": "cardrail",
        "webhook-id": notice_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(notice_id, now, body) for secret in secrets),
    }
