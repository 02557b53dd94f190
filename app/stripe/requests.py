"""Commands as requests: one builder per kind of command, in the vocabulary of the API version that we speak. Pure."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Literal

import msgspec

from app.machines.events import Json

MONEY_MANAGER_SINCE = date(2026, 6, 24)
ADDRESS_BANK_SINCE = date(2026, 9, 16)
OLD_ADDRESS_TYPES = {
    "usd": "us_bank_account",
    "gbp": "gb_bank_account",
    "eur": "sepa_bank_account",
    "cad": "ca_bank_account",
    "mxn": "mx_bank_account",
}
NAME_MAX = 24

Params = dict[str, Any]


class Request(msgspec.Struct, frozen=True):
    """One call: ``context`` is the account it is made in, None for the platform itself."""

    method: Literal["post", "get", "delete"]
    path: str
    params: Params
    context: str | None
    api: Literal["v1", "v2"]


class _Make(msgspec.Struct, frozen=True):
    params: Params
    account: str
    version: str
    metadata: Mapping[str, str]

    def get(self, name: str) -> Any:
        return self.params[name]

    def some(self, *names: str) -> Params:
        return {n: self.params[n] for n in names if self.params.get(n) is not None}


def build(
    kind: str, params: Json, *, account_id: str, version: str, metadata: Mapping[str, str] | None = None
) -> Request:
    """The request of a command. Raises KeyError for an unknown kind or a missing parameter, ValueError for a bad one."""
    given: Params = dict(params)
    extra = given.pop("metadata", None)
    merged = {**(extra if isinstance(extra, dict) else {}), **(metadata or {})}
    return BUILDERS[kind](_Make(given, account_id, version, merged))


def storer(version: str) -> bool:
    """Whether this version still says ``storer`` for what is called ``money_manager`` since 2026-06-24."""
    return date.fromisoformat(version[:10]) < MONEY_MANAGER_SINCE


def old_addresses(version: str) -> bool:
    """Whether this version has financial addresses in the old shape (``us_bank_account``, ``include``)."""
    return date.fromisoformat(version[:10]) < ADDRESS_BANK_SINCE


def address_include(version: str, credentials: str) -> tuple[str, ...]:
    """What must be included for an address' answer to hold the whole number: only the old shape hides it."""
    if not old_addresses(version) or credentials not in OLD_ADDRESS_TYPES.values():
        return ()
    number = "iban" if credentials == "sepa_bank_account" else "account_number"
    return (f"credentials.{credentials}.{number}",)


def _requested(*paths: str) -> Params:
    root: Params = {}
    for path in paths:
        node = root
        for part in path.split("."):
            node = node.setdefault(part, {})
        node["requested"] = True
    return root


def _create_account(m: _Make) -> Request:
    storage = (
        ("holds_currencies.usdc",)
        if storer(m.version)
        else ("business_storage.inbound.usdc", "business_storage.outbound.usdc")
    )
    name = "storer" if storer(m.version) else "money_manager"
    held = _requested(*storage, "outbound_transfers.crypto_wallets", "outbound_transfers.bank_accounts")
    params: Params = {
        **m.some("contact_email", "display_name"),
        "dashboard": "none",
        "identity": {"country": str(m.get("country")).lower(), "entity_type": m.get("entity_type")},
        "configuration": {
            "merchant": {"capabilities": _requested("card_payments")},
            name: {"capabilities": held},
            "card_creator": {"capabilities": _requested("commercial.lead.prepaid_card")},
        },
        "defaults": {
            "currency": "usdc",
            "responsibilities": {"fees_collector": "application", "losses_collector": "application"},
        },
        "include": [f"configuration.{name}", "configuration.card_creator", "configuration.merchant", "requirements"],
        "metadata": dict(m.metadata),
    }
    return Request("post", "/v2/core/accounts", params, None, "v2")


def _close_account(m: _Make) -> Request:
    """Every applied configuration must be named, in the words of this version (api.md, accounts)."""
    ours = "storer" if storer(m.version) else "money_manager"
    named = [ours if name in ("storer", "money_manager") else name for name in m.get("applied_configurations")]
    params = {"applied_configurations": list(dict.fromkeys(named))}
    return Request("post", f"/v2/core/accounts/{m.account}/close", params, None, "v2")


def _create_account_link(m: _Make) -> Request:
    use = str(m.params.get("use_case") or "account_onboarding")
    detail = m.some("refresh_url", "return_url", "collection_options", "configurations")
    params = {"account": m.params.get("account") or m.account, "use_case": {"type": use, use: detail}}
    return Request("post", "/v2/core/account_links", params, None, "v2")


def _create_financial_account(m: _Make) -> Request:
    params = {
        "type": "storage",
        "storage": {"holds_currencies": list(m.get("currencies"))},
        **m.some("display_name"),
        "metadata": dict(m.metadata),
    }
    return Request("post", "/v2/money_management/financial_accounts", params, m.account, "v2")


def _create_financial_address(m: _Make) -> Request:
    params: Params = {"financial_account": m.get("financial_account")}
    if m.get("type") == "crypto_wallet":
        network = {"network": m.get("network")}
        name = "crypto_properties" if old_addresses(m.version) else "crypto_wallet"
        params |= {"type": "crypto_wallet", "settlement_currency": "usdc", name: network}
    elif old_addresses(m.version):
        kind = OLD_ADDRESS_TYPES[str(m.get("currency"))]
        params |= {"type": kind, "settlement_currency": m.get("currency")}
        if kind == "sepa_bank_account" and m.params.get("country"):
            params[kind] = m.some("country")
    else:
        params |= {"type": "bank_account", "bank_account": m.some("currency", "country")}
        params["settlement_currency"] = m.get("currency")
    return Request("post", "/v2/money_management/financial_addresses", params, None, "v2")


def _create_inbound_transfer(m: _Make) -> Request:
    amount = m.get("amount")
    params = {
        "from": {"payment_method": m.get("payment_method"), "currency": amount["currency"]},
        "to": {"financial_account": m.get("financial_account"), "currency": amount["currency"]},
        "amount": amount,
        **m.some("description"),
    }
    return Request("post", "/v2/money_management/inbound_transfers", params, None, "v2")


def _create_outbound_payment(m: _Make) -> Request:
    params = {
        "from": {"financial_account": m.get("from_financial_account"), "currency": m.get("amount")["currency"]},
        "to": {
            "recipient": m.get("recipient"),
            "payout_method": m.get("payout_method"),
            "currency": m.get("to_currency"),
        },
        "amount": m.get("amount"),
        **m.some("description"),
        "metadata": dict(m.metadata),
    }
    return Request("post", "/v2/money_management/outbound_payments", params, None, "v2")


def _create_cardholder(m: _Make) -> Request:
    params = {
        "name": card_name(str(m.get("name"))),
        "type": m.params.get("type") or "individual",
        "status": "active",
        **m.some("email", "phone_number", "billing", "company", "spending_controls"),
        **_individual(m),
        "metadata": dict(m.metadata),
    }
    return Request("post", "/v1/issuing/cardholders", params, m.account, "v1")


def card_name(name: str) -> str:
    """The name as a card can carry it, at most ``NAME_MAX`` characters: whole words as long as at least one fits."""
    whole = " ".join(name.split())
    if len(whole) <= NAME_MAX:
        return whole
    return whole[: NAME_MAX + 1].rpartition(" ")[0] or whole[:NAME_MAX]


def _individual(m: _Make) -> Params:
    """The person with the terms accepted where the guide puts them: ``individual[user_terms_acceptance][lead]``."""
    individual: Params = dict(m.params.get("individual") or {})
    terms = m.params.get("user_terms_acceptance")
    if terms:
        individual["user_terms_acceptance"] = {"lead": {"date": terms["date"], "ip": terms["ip"]}}
    return {"individual": individual} if individual else {}


def _update_cardholder(m: _Make) -> Request:
    params = {
        **m.some("status", "email", "phone_number", "billing", "company", "spending_controls"),
        **_individual(m),
        "metadata": dict(m.metadata),
    }
    return Request("post", f"/v1/issuing/cardholders/{m.get('cardholder')}", params, m.account, "v1")


def _create_card(m: _Make) -> Request:
    optional = (
        "shipping",
        "spending_controls",
        "replacement_for",
        "replacement_reason",
        "second_line",
        "personalization_design",
    )
    params = {
        "cardholder": m.get("cardholder"),
        "currency": m.params.get("currency") or "usd",
        "type": m.get("type"),
        "status": m.params.get("status") or "active",
        "financial_account_v2": m.get("financial_account_v2"),
        **m.some(*optional),
        "metadata": dict(m.metadata),
    }
    return Request("post", "/v1/issuing/cards", params, m.account, "v1")


def _update_card(m: _Make) -> Request:
    params = {**m.some("status", "cancellation_reason", "spending_controls"), "metadata": dict(m.metadata)}
    return Request("post", f"/v1/issuing/cards/{m.get('card')}", params, m.account, "v1")


def _create_outbound_setup_intent(m: _Make) -> Request:
    params = {"usage_intent": "transfer", **m.some("payout_method", "payout_method_data")}
    return Request("post", "/v2/money_management/outbound_setup_intents", params, m.account, "v2")


def _update_outbound_setup_intent(m: _Make) -> Request:
    path = f"/v2/money_management/outbound_setup_intents/{m.get('outbound_setup_intent')}"
    return Request("post", path, m.some("payout_method", "payout_method_data"), m.account, "v2")


def _create_outbound_transfer(m: _Make) -> Request:
    params = {
        "from": {
            "financial_account": m.get("from_financial_account"),
            "currency": m.params.get("from_currency") or "usdc",
        },
        "to": {"payout_method": m.get("payout_method"), "currency": m.get("to_currency")},
        "amount": m.get("amount"),
        **m.some("description"),
        "metadata": dict(m.metadata),
    }
    return Request("post", "/v2/money_management/outbound_transfers", params, m.account, "v2")


def _act(noun: str, name: str, verb: str) -> Callable[[_Make], Request]:
    def make(m: _Make) -> Request:
        return Request("post", f"/v2/money_management/{noun}/{m.get(name)}/{verb}", {}, m.account, "v2")

    return make


def _create_dispute(m: _Make) -> Request:
    params = {**m.some("transaction", "amount", "evidence"), "metadata": dict(m.metadata)}
    return Request("post", "/v1/issuing/disputes", params, m.account, "v1")


def _update_dispute(m: _Make) -> Request:
    params = {**m.some("amount", "evidence"), "metadata": dict(m.metadata)}
    return Request("post", f"/v1/issuing/disputes/{m.get('dispute')}", params, m.account, "v1")


def _submit_dispute(m: _Make) -> Request:
    return Request(
        "post", f"/v1/issuing/disputes/{m.get('dispute')}/submit", {"metadata": dict(m.metadata)}, m.account, "v1"
    )


def _update_token(m: _Make) -> Request:
    return Request("post", f"/v1/issuing/tokens/{m.get('token')}", {"status": m.get("status")}, m.account, "v1")


BUILDERS: dict[str, Callable[[_Make], Request]] = {
    "create_account": _create_account,
    "create_account_link": _create_account_link,
    "close_account": _close_account,
    "create_financial_account": _create_financial_account,
    "create_outbound_payment": _create_outbound_payment,
    "create_cardholder": _create_cardholder,
    "create_card": _create_card,
    "update_cardholder": _update_cardholder,
    "update_card": _update_card,
    "create_outbound_setup_intent": _create_outbound_setup_intent,
    "create_outbound_transfer": _create_outbound_transfer,
    "create_financial_address": _create_financial_address,
    "create_inbound_transfer": _create_inbound_transfer,
    "close_financial_account": _act("financial_accounts", "financial_account", "close"),
    "update_outbound_setup_intent": _update_outbound_setup_intent,
    "cancel_outbound_setup_intent": _act("outbound_setup_intents", "outbound_setup_intent", "cancel"),
    "cancel_outbound_transfer": _act("outbound_transfers", "outbound_transfer", "cancel"),
    "archive_payout_method": _act("payout_methods", "payout_method", "archive"),
    "disable_payout_method": _act("payout_methods", "payout_method", "disable"),
    "unarchive_payout_method": _act("payout_methods", "payout_method", "unarchive"),
    "create_dispute": _create_dispute,
    "update_dispute": _update_dispute,
    "submit_dispute": _submit_dispute,
    "update_token": _update_token,
}
"""One builder per kind of command; a test holds the keys equal to the kinds."""
