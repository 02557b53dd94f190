"""Rows of the store as the API, the CLI and the console show them. Pure: a row in, a dict of JSON values out."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from app.flow import notices
from app.log import redact
from app.machines.programme import Programme
from app.ops import closing, explain
from app.ops.facts import facts_read
from app.store.views import parsed

Row = Mapping[str, Any]

journal_line = notices.journal_line
"""As subscribers hear it."""


def time_of(ms: object) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, UTC) if isinstance(ms, int | float) and ms else None


def money(value: object, currency: object) -> dict[str, object]:
    return {"value": value, "currency": currency}


def hold(value: object) -> dict[str, Any] | None:
    held = parsed(value)
    if not isinstance(held, dict):
        return None
    at = held.get("at")
    return {"by": held.get("by"), "reason": held.get("reason"), "at": time_of(at) if not isinstance(at, str) else at}


def last_error(row: Row) -> dict[str, Any] | None:
    error = parsed(row["error"])
    if not isinstance(error, dict):
        return None
    return {
        "what": row["error_what"],
        "id": row["error_id"],
        "status": row["error_status"],
        "code": error.get("code"),
        "message": error.get("message"),
        "at": row["error_at"],
    }


def explained(row: Row, programme: Programme, now_ms: int, platform: str | None = None) -> dict[str, Any]:
    """What the account waits for, what follows, in words, and what would help."""
    plain = {**row, **{name: parsed(row[name]) for name in ("facts", "hold", "error", "brakes")}}
    return explain.explain(explain.situation(plain, programme, platform), now_ms)


def explanation(row: Row, programme: Programme, now_ms: int, platform: str | None = None) -> dict[str, Any]:
    """The whole answer of ``accounts explain``."""
    return {
        "id": row["account_id"],
        "state": row["state"],
        "held": hold(row["hold"]),
        "last_error": last_error(row),
        **explained(row, programme, now_ms, platform),
    }


def _facts(row: Row) -> dict[str, Any]:
    """What is stored of the account; nothing where that was edited by hand and cannot be read."""
    raw = parsed(row["facts"]) or {}
    return raw if facts_read(raw) is not None else {}


def account_summary(row: Row, programme: Programme, now_ms: int, platform: str | None = None) -> dict[str, Any]:
    answer = explained(row, programme, now_ms, platform)
    cards = _facts(row).get("cards") or {}
    return {
        "id": row["account_id"],
        "state": row["state"],
        "since": row["since"],
        "version": row["version"],
        "programme": row["programme"] or programme.name,
        "country": row["country"],
        "enrolled": row["enrolled"],
        "held": hold(row["hold"]),
        "waiting_for": answer["waiting_for"],
        "next_command": answer["next_command"],
        "last_error": last_error(row),
        "card_count": sum(1 for card in cards.values() if _status(card) != "canceled"),
    }


def account(row: Row, programme: Programme, now_ms: int, platform: str | None = None) -> dict[str, Any]:
    facts = _facts(row)
    own = facts.get("financial_account")
    holder = facts.get("cardholder")
    return {
        **account_summary(row, programme, now_ms, platform),
        "reference": facts.get("reference"),
        "enrollment": facts.get("enrollment"),
        "capabilities": {path: _status(c) for path, c in (facts.get("capabilities") or {}).items()},
        "requirements": closing.requirements(facts),
        "financial_account": {"id": own.get("id"), "status": own.get("status")} if own else None,
        "balance": balance(facts.get("balance")),
        **balances(facts.get("balance")),
        "cards": {card_id: _status(card) for card_id, card in (facts.get("cards") or {}).items()},
        "cardholder": holder.get("id") if isinstance(holder, dict) else None,
        "first_spend": facts.get("first_spend"),
        "explained": explained(row, programme, now_ms, platform)["plain"],
        "created": row["created_at"],
    }


def balance(value: object, currency: str = "usdc") -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    parts = {k: money((value.get(k) or {}).get(currency, 0), currency) for k in _BALANCE_PARTS}
    return {**parts, "at": time_of(value.get("at"))}


def balances(value: object) -> dict[str, Any]:
    """Every currency's parts in minor units, and the currencies whose available part is negative."""
    found = value if isinstance(value, dict) else {}
    currencies = sorted({c for part in _BALANCE_PARTS for c in found.get(part) or {}})
    each = {c: {part: (found.get(part) or {}).get(c, 0) for part in _BALANCE_PARTS} for c in currencies}
    return {"balances": each, "negative": [c for c in currencies if each[c]["available"] < 0]}


def moneys(value: object) -> dict[str, Any] | None:
    """A financial account's balance as Stripe shapes it: each part, and in it each currency's money."""
    if not isinstance(value, dict):
        return None
    return {
        part: {c: money(amount, c) for c, amount in held.items()} if isinstance(held, dict) else held
        for part, held in value.items()
    }


_BALANCE_PARTS = ("available", "inbound_pending", "outbound_pending")


def _status(value: object) -> object:
    return value.get("status") if isinstance(value, dict) else value


def chained_line(row: Row, behind: dict[str, Any]) -> dict[str, Any]:
    """A journal line with what ``ops.chains`` found behind it."""
    return {**journal_line(row), **behind}


def thing(row: Row) -> dict[str, Any]:
    """An object: what Stripe's says, under what we say of it."""
    data = parsed(row["data"]) or {}
    if row["kind"] == "financial_account" and "balance" in data:
        data = {**data, "balance": moneys(data["balance"])}
    return {
        **data,
        "id": row["object_id"],
        "kind": row["kind"],
        "state": row["state"],
        "observed_at": row["observed_at"],
        "version": row["version"],
    }


def event(row: Row) -> dict[str, Any]:
    return {
        "id": row["event_id"],
        "account": row["account_id"],
        "type": row["type"],
        "source": row["source"],
        "status": row["status"],
        "created": row["created"],
        "received_at": row["received_at"],
        "deliveries": row["deliveries"],
        "attempts": row["attempts"],
        "error": parsed(row["error"]),
    }


def payload(row: Row, *, private: bool) -> object:
    """The body as it came, as JSON where it is; personal data only when ``private``."""
    if row["payload"] is None:
        return None
    if row.get("unsealable") is not None:
        return f"It does not open: {row['unsealable']}"
    raw = bytes(row["payload"])
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw.decode(errors="replace")
    return body if private else redact(body)


def hosted_link(row: Row) -> dict[str, Any]:
    """The link in Stripe's answer to `create_account_link`."""
    objects = orjson.loads(bytes(row["payload"] or b"{}")).get("objects") or [{}]
    made = objects[0].get("object") or {}
    return {name: made.get(name) for name in ("url", "expires_at")}


def link(row: Row) -> dict[str, Any]:
    return {k: row[k] for k in ("what", "id", "type", "status")} | {"account": row["account_id"]}


def command(row: Row) -> dict[str, Any]:
    return {
        "id": row["command_id"],
        "account": row["account_id"],
        "kind": row["kind"],
        "intent": row["intent"],
        "status": row["status"],
        "attempts": row["attempts"],
        "amount": None if row["amount"] is None else money(row["amount"], row["currency"]),
        "object_id": row["object_id"],
        "request_id": row["request_id"],
        "error": parsed(row["error"]),
        "caused_by": row["caused_by"],
        "due_at": row["due_at"],
        "created": row["created_at"],
    }


def enrollment(row: Row) -> dict[str, Any]:
    data = parsed(row["data"]) or {}
    reference = data.get("reference")
    if row["payload"] is not None:
        asked = orjson.loads(bytes(row["payload"]))["happenings"][0]["request"]
        reference = asked.get("reference")
    return {
        "id": row["event_id"],
        "reference": reference,
        "state": row["state"],
        "account": data.get("account"),
        "error": data.get("error") or parsed(row["error"]),
        "created": row["created"],
    }


def key(row: Row) -> dict[str, Any]:
    return dict(row)


def health_alert(row: Row) -> dict[str, Any]:
    data = parsed(row["data"])
    plain = {name: data.get(name) for name in ("alarm", "severity", "summary", "started_at", "resolved_at")}
    own = {"id": row["object_id"], "state": row["state"], "backfilled_at": row["backfilled_at"]}
    return {**own, **plain, "impact": data.get("impact") or {}}
