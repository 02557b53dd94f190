"""Both vocabularies: up to 2026-06-10.preview ``storer`` and its words, from 2026-06-24.preview ``money_manager``.

Inside, the sandbox speaks the new words only. Bodies and includes are translated on the way in (the other vocabulary is
refused), accounts and event names on the way out.
"""

from typing import Any

from app.sandbox.errors import invalid

RENAMED_FROM = "2026-06-24"
FLOWS_FROM = "2026-07-01"
ADDRESSES_FROM = "2026-09-16"
_TERMS = {
    "storer": "money_manager",
    "crypto_storer": "crypto_money_manager",
    "consumer_storer": "consumer_money_manager",
}
_WALLETS = {"financial_addresses": "received_credits", "financial_addressses": "received_credits"}
Json = dict[str, Any]


def is_new(version: str) -> bool:
    """Whether this API version says ``money_manager``."""
    return version[:10] >= RENAMED_FROM


def has_new_addresses(version: str) -> bool:
    """Whether this API version has financial addresses in the new shape."""
    return version[:10] >= ADDRESSES_FROM


def account_in(body: Json, version: str) -> Json:
    """A create or update body in the new words. Raises ApiError 400 when it speaks the other vocabulary."""
    foreign = "storer" if is_new(version) else "money_manager"
    terms = ((body.get("identity") or {}).get("attestations") or {}).get("terms_of_service") or {}
    if foreign in (body.get("configuration") or {}):
        raise invalid(f"Received unknown parameter: configuration.{foreign}", code="parameter_unknown", param=foreign)
    wrong = set(_TERMS) if is_new(version) else set(_TERMS.values())
    if wrong & set(terms):
        raise invalid(f"Received unknown parameter: {min(wrong & set(terms))}", code="parameter_unknown")
    include = includes_in(body.get("include") or [], version)
    if is_new(version):
        return body
    body = {**body, **({"include": include} if include else {})}
    if terms:
        renamed = {_TERMS.get(key, key): value for key, value in terms.items()}
        attestations = {**body["identity"]["attestations"], "terms_of_service": renamed}
        body["identity"] = {**body["identity"], "attestations": attestations}
    if "storer" in (body.get("configuration") or {}):
        configuration = dict(body["configuration"])
        storer = dict(configuration.pop("storer") or {})
        if isinstance(storer.get("capabilities"), dict):
            storer["capabilities"] = _capabilities_in(storer["capabilities"])
        body["configuration"] = {**configuration, "money_manager": storer}
    return body


def includes_in(include: list[str], version: str) -> list[str]:
    """``include`` values in the new words."""
    foreign = "configuration.storer" if is_new(version) else "configuration.money_manager"
    if foreign in include:
        raise invalid(f"Invalid include: {foreign}", param="include")
    return ["configuration.money_manager" if one == "configuration.storer" else one for one in include]


def _capabilities_in(old: Json) -> Json:
    new: Json = {}
    for key, value in old.items():
        if key == "holds_currencies":
            new["business_storage"] = {"inbound": dict(value), "outbound": dict(value)}
        elif key == "business_storage":
            raise invalid("Received unknown parameter: business_storage", code="parameter_unknown")
        else:
            new[_WALLETS.get(key, key)] = value
    return new


def account_out(data: Json, version: str) -> Json:
    """An account in the words of this version."""
    if is_new(version):
        return data
    names = ["storer" if c == "money_manager" else c for c in data["applied_configurations"]]
    out = {**data, "applied_configurations": names}
    if data["configuration"]:
        configuration = dict(data["configuration"])
        manager = configuration.pop("money_manager", None)
        if manager:
            manager = {**manager, "capabilities": _capabilities_out(manager["capabilities"])}
        out["configuration"] = {**configuration, "storer": manager}
    return out


def _capabilities_out(new: Json) -> Json:
    old: Json = {}
    for key, value in new.items():
        if key == "business_storage":
            both = [value.get("inbound", {}), value.get("outbound", {})]
            old["holds_currencies"] = {
                currency: next((b[currency] for b in both if b.get(currency, {}).get("status") != "active"), one)
                for currency, one in both[0].items()
            }
        else:
            old["financial_addresses" if key == "received_credits" else key] = value
    return old


def flow_out(data: Json, before: Json | None, version: str) -> Json:
    """A ledger transaction or entry: up to 2026-06-24.preview the ledger does not know the ``issuing_*`` flows."""
    if before is None or version[:10] >= FLOWS_FROM:
        return data
    details = data.get("transaction_details")
    return {**data, "transaction_details": {**details, **before}} if details else {**data, **before}


def event_type_out(name: str, version: str) -> str:
    """An event's type in the words of this version."""
    if is_new(version):
        return name
    return name.replace("[configuration.money_manager]", "[configuration.storer]")


def event_data_out(data: Json | None, version: str) -> Json | None:
    """An event's extra data in the words of this version."""
    if data is None or is_new(version) or "updated_capability" not in data:
        return data
    return {**data, "updated_capability": capability_out(data["updated_capability"], version)}


def capability_out(path: str, version: str) -> str:
    """A capability's dotted path in the words of this version."""
    if is_new(version):
        return path
    head, _, rest = path.partition(".")
    if head == "business_storage":
        return "holds_currencies." + rest.partition(".")[2]
    return f"financial_addressses.{rest}" if head == "received_credits" else path


def capability_in(path: str) -> list[str]:
    """A capability's path of either vocabulary as paths in the new one."""
    head, _, rest = path.partition(".")
    if head == "holds_currencies":
        return [f"business_storage.inbound.{rest}", f"business_storage.outbound.{rest}"]
    return [f"{_WALLETS.get(head, head)}.{rest}"]
