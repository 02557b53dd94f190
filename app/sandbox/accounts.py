"""v2 accounts, persons and account links."""

from typing import Any

from app.sandbox import capabilities, listing, scenarios
from app.sandbox.calls import Answer, Call, Json, Record
from app.sandbox.errors import invalid, not_found, refused
from app.sandbox.vocabulary import account_out, includes_in
from app.sandbox.world import World

KIND = "v2.core.account"
CONFIGURATIONS = ("card_creator", "customer", "developer", "merchant", "money_manager", "recipient")
INCLUDES = frozenset({f"configuration.{c}" for c in CONFIGURATIONS}) | {
    "defaults",
    "identity",
    "requirements",
    "future_requirements",
}
PLAIN = ("contact_email", "contact_phone", "display_name", "dashboard")


def shown_account(record: Record, call: Call) -> Json:
    """What was not asked for by ``include`` is null, in the answer of a create too."""
    include = set(includes_in(list(call.params.get("include") or []), call.version))
    data = record.data
    out = {
        **data,
        "configuration": {
            c: data["configuration"][c] if f"configuration.{c}" in include else None for c in CONFIGURATIONS
        },
    }
    for part in ("defaults", "identity", "requirements", "future_requirements"):
        if part not in include:
            out[part] = None
    if not any(out["configuration"].values()):
        out["configuration"] = None
    return account_out(out, call.version)


def _checked(call: Call) -> None:
    for one in includes_in(list(call.params.get("include") or []), call.version):
        if one not in INCLUDES:
            raise invalid(f"Invalid include: {one}", param="include")


def find(world: World, call: Call, ident: str) -> Record:
    """The platform sees its connected accounts and itself; a connected account sees itself."""
    record = world.records.get(ident)
    if record is None or record.kind != KIND or call.account not in {world.platform, ident}:
        raise not_found("account", ident, "v2")
    return record


def create(world: World, call: Call) -> Answer:
    """A new account; its scenario begins."""
    _checked(call)
    body = call.params
    ident = world.ids.new("acct_")
    wanted = body.get("configuration") or {}
    defaults = dict(body.get("defaults") or {})
    responsibilities = defaults.get("responsibilities")
    if responsibilities is not None:
        defaults["responsibilities"] = {"requirements_collector": "stripe", **responsibilities}
    identity = dict(body.get("identity") or {})
    data: Json = {
        "applied_configurations": [],
        "configuration": dict.fromkeys(CONFIGURATIONS),
        "identity": identity,
        "defaults": defaults,
        "requirements": {"entries": [], "summary": None},
        "future_requirements": {"entries": [], "summary": None},
        "closed": False,
        "metadata": body.get("metadata") or {},
        **{name: body.get(name) for name in PLAIN},
    }
    if isinstance(identity.get("country"), str):
        identity["country"] = identity["country"].lower()
    account = world.add(KIND, ident, data, ident=ident)
    _configure(account, wanted)
    world.thin(".created", account)
    scenarios.onboard(world, account)
    return Answer(account)


def _configure(account: Record, wanted: Json) -> list[str]:
    """Apply configurations and request capabilities; the new ones begin as pending. Returns them."""
    new: list[str] = []
    for name, configuration in wanted.items():
        if configuration is None:
            continue
        have = account.data["configuration"][name]
        if have is None:
            have = account.data["configuration"][name] = {"applied": True, "capabilities": {}}
            account.data["applied_configurations"].append(name)
        have.update({key: value for key, value in configuration.items() if key != "capabilities"})
        for path in capabilities.requested(configuration.get("capabilities") or {}):
            full = f"{name}.{path}"
            if capabilities.status(account, full) is None:
                capabilities.put(account, full, "pending")
                new.append(full)
    return new


def update(world: World, call: Call) -> Answer:
    """Merge what is given; new capabilities begin as pending."""
    _checked(call)
    account = find(world, call, call.ids[0])
    if account.data["closed"]:
        raise refused("account_closed", "This account is closed.")
    body, data = call.params, account.data
    plain = {name: body[name] for name in PLAIN if name in body}
    data.update(plain)
    if body.get("metadata"):
        merged = {**data["metadata"], **body["metadata"]}
        data["metadata"] = {key: value for key, value in merged.items() if value is not None}
    for part in ("identity", "defaults"):
        if body.get(part):
            data[part] = _merged(data[part], body[part])
            world.thin(f"[{part}].updated", account)
    wanted = body.get("configuration") or {}
    new = _configure(account, wanted)
    for name in wanted:
        world.thin(f"[configuration.{name}].updated", account)
    if plain or body.get("metadata"):
        world.thin(".updated", account)
    if new and account.hidden.get("kyc") == "verified":
        world.later(capabilities.change, world, account, dict.fromkeys(new, "active"))
    return Answer(account)


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}


def retrieve(world: World, call: Call) -> Answer:
    """One account."""
    _checked(call)
    return Answer(find(world, call, call.ids[0]))


def own(world: World, call: Call) -> Answer:
    """v1: whose key or context this is."""
    country = "US"
    if call.account != world.platform:
        country = str(world.records[call.account].data["identity"].get("country", "us")).upper()
    return Answer(body={"id": call.account, "object": "account", "country": country})


def everything(world: World, call: Call) -> Answer:
    """The connected accounts, open ones by default."""
    closed = str(call.params.get("closed")).lower() == "true"
    names = listing.wanted(call.params, "applied_configurations")
    plain = Call(call.method, call.path, call.api, call.account, call.version, {}, [])
    rows = [r for r in world.of_kind(KIND) if call.account in {world.platform, r.id}]
    return listing.v2(
        call,
        rows,
        lambda r: r.data["closed"] == closed and (not names or names <= set(r.data["applied_configurations"])),
        lambda r: shown_account(r, plain),
    )


def close(world: World, call: Call) -> Answer:
    """Close; every applied configuration must be named."""
    account = find(world, call, call.ids[0])
    named = set(call.params.get("applied_configurations") or [])
    named = {"money_manager" if one == "storer" else one for one in named}
    if named != set(account.data["applied_configurations"]):
        raise invalid("applied_configurations must name every applied configuration", param="applied_configurations")
    shut(world, account)
    return Answer(account)


def shut(world: World, account: Record) -> None:
    """Close an account, and those of its financial accounts that are empty."""
    if account.data["closed"]:
        return
    account.data["closed"] = True
    for fa in world.all("v2.money_management.financial_account", account.id):
        empty = not any(v for (name, _), v in world.ledger.balances.items() if name.startswith(f"fa:{fa.id}:"))
        if empty and fa.data["status"] == "open":
            fa.data["status"] = "closed"
            fa.data["status_details"] = {"closed": {"reason": "account_closed", "forwarding_settings": None}}
            world.thin(".updated", fa)
    world.thin(".closed", account)
