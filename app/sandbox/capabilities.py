"""Capabilities and requirements of an account, and the events their changes make."""

from collections.abc import Iterator
from typing import Any

from app.sandbox.calls import Json, Record
from app.sandbox.vocabulary import capability_out
from app.sandbox.world import World

PREPAID = "card_creator.commercial.lead.prepaid_card"
DETAILS = {
    "pending": "determining_status",
    "restricted": "requirements_past_due",
    "unsupported": "unsupported_country",
    "rejected": "rejected_other",
}
RESOLUTIONS = {"pending": "no_resolution", "restricted": "provide_info", "unsupported": "no_resolution"}


def capability(status: str) -> Json:
    """A leaf with the details that usually go with its status."""
    if status == "active":
        return {"status": "active", "status_details": []}
    detail = {"code": DETAILS[status], "resolution": RESOLUTIONS.get(status, "contact_stripe")}
    return {"status": status, "status_details": [detail]}


def requested(tree: Any, path: str = "") -> Iterator[str]:
    """The dotted paths under ``capabilities`` that end in ``{"requested": true}``."""
    if not isinstance(tree, dict):
        return
    if tree.get("requested") is True:
        yield path
        return
    for key, below in tree.items():
        yield from requested(below, f"{path}.{key}" if path else key)


def paths(account: Record) -> list[str]:
    """All capabilities of an account: ``<configuration>.<dotted path>``."""
    found: list[str] = []
    for name, configuration in account.data["configuration"].items():
        if configuration:
            found += [f"{name}.{path}" for path in _leaves(configuration.get("capabilities") or {})]
    return found


def _leaves(tree: Json, path: str = "") -> Iterator[str]:
    if "status" in tree:
        yield path
        return
    for key, below in tree.items():
        yield from _leaves(below, f"{path}.{key}" if path else key)


def status(account: Record, full: str) -> str | None:
    """The status of ``<configuration>.<dotted path>``; None when never requested."""
    name, _, path = full.partition(".")
    node: Any = (account.data["configuration"].get(name) or {}).get("capabilities") or {}
    for key in path.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    return node.get("status") if isinstance(node, dict) else None


def put(account: Record, full: str, to: str) -> bool:
    """Set a capability's status; whether that changed it."""
    if status(account, full) == to:
        return False
    name, _, path = full.partition(".")
    node = account.data["configuration"][name].setdefault("capabilities", {})
    *above, last = path.split(".")
    for key in above:
        node = node.setdefault(key, {})
    node[last] = capability(to)
    return True


def change(world: World, account: Record, wanted: dict[str, str]) -> None:
    """Set several capabilities and announce each change once, in the words of the sandbox's version."""
    changed = [full for full, to in wanted.items() if put(account, full, to)]
    said: set[tuple[str, str]] = set()
    for full in changed:
        name, _, path = full.partition(".")
        word = capability_out(path, world.settings.api_version)
        if (name, word) not in said:
            said.add((name, word))
            world.thin(f"[configuration.{name}].capability_status_updated", account, {"updated_capability": path})


def requirement(field: str, who: str, deadline: str, restricts: list[str]) -> Json:
    """One entry of ``requirements.entries``."""
    impacts = [
        {
            "capability": full.partition(".")[2],
            "configuration": full.partition(".")[0],
            "deadline": {"status": deadline},
        }
        for full in restricts
    ]
    return {
        "awaiting_action_from": who,
        "description": field,
        "errors": [],
        "impact": {"restricts_capabilities": impacts},
        "minimum_deadline": {"status": deadline},
        "reference": None,
        "requested_reasons": [{"code": "routine_onboarding"}],
    }


def require(
    world: World, account: Record, entries: list[Json], *, quiet: bool = False, part: str = "requirements"
) -> None:
    """Replace the requirements (or ``future_requirements``) and say so."""
    deadlines = [e["minimum_deadline"]["status"] for e in entries]
    order = ("past_due", "currently_due", "eventually_due")
    worst = next((one for one in order if one in deadlines), None)
    summary = {"minimum_deadline": {"status": worst, "time": None}} if worst else None
    account.data[part] = {"entries": entries, "summary": summary}
    if not quiet:
        world.thin(f"[{part}].updated", account)
