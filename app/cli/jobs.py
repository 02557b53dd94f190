"""How a replay is shown on a terminal: what it does, or would do, in words, not as JSON."""

from typing import Any

from app.ops.jobs import FAILURES_MAX

FAILED_SHOWN_MAX = 20


def in_words(job: dict[str, Any]) -> dict[str, Any]:
    """The job with its forecast told member by member; without one it stays as it is."""
    told, said = {k: v for k, v in job.items() if k != "forecast"}, job.get("forecast")
    if job.get("state") == "failed":
        told["state"] = f"failed (stopped itself after {FAILURES_MAX} failures in a row)"
    if not said:
        return {**told, "forecast": "not looked through yet"} if job.get("state") == "planned" else told
    if not said["complete"]:
        return {**told, "looked through": said["events"]}
    told["would leave"] = _commands(said["leaving"]) or "nothing"
    told["would be held back"] = _commands(said["held_back"])
    told["suppressed, since already made"] = _commands(said["suppressed"])
    told["transitions"] = "\n".join(f"{n} x {name}" for name, n in sorted(said["transitions"].items()))
    told["compared"] = said["compared"]
    told["passed over"] = ", ".join(f"{n} {code}" for code, n in sorted(said["passed_over"].items()))
    told["unreadable"] = said["unreadable"]
    return {name: value for name, value in told.items() if value not in ("", 0) or name in job}


def asks_for_a_key(job: str) -> str:
    """What must follow, where one person may not do it alone."""
    return f"Nothing runs yet: another admin's key must confirm it. cardrail replays confirm {job} --reason WHY"


def plan_in_words(plan: dict[str, Any]) -> dict[str, Any]:
    """The plan of one event, without members that say nothing or the same twice."""
    told = {k: v for k, v in plan.items() if k not in _PLANNED and v not in (None, [], "")}
    for name, title in _PLANNED.items():
        if plan.get(name):
            told[title] = "\n".join(_line(one) for one in plan[name])
    if told.get("id") == told.get("event"):
        del told["event"]
    told.pop("does" if told.get("would") == told.get("does") else "", None)
    if plan.get("unreadable") and told.get("would"):
        told["would"] = "park again: nothing can be folded until the cause is gone"
        told.pop("does", None)
    return told


_PLANNED = {
    "transitions": "transitions",
    "leaving": "would leave",
    "held_back": "would be held back",
    "suppressed": "suppressed, since already made",
    "differences": "differences",
}


def _line(one: dict[str, Any]) -> str:
    """A transition, a command or a difference, in one line."""
    if "machine" in one:
        moved = one["to"] if one["from"] in {None, one["to"]} else f"{one['from']} -> {one['to']}"
        return f"{one['machine']} {one['object_id']}: {moved}" + (f" ({one['note']})" if one["note"] else "")
    if "what" in one:
        return f"{one['what']}: stored {one['stored']}, the log says {one['rebuilt']}"
    amount = f", {one['amount'] / 100:,.2f}" if one["amount"] else ""
    return f"{one['kind']} {one['id']}{amount}" + (f" ({one['status']})" if one["status"] else "")


def counted(found: dict[str, Any], name: str) -> dict[str, Any]:
    """What was found, with its counts a line each, and the first of what failed."""
    failed = [
        *found["failed"][:FAILED_SHOWN_MAX],
        *(["and more: --json has them"] * (len(found["failed"]) > FAILED_SHOWN_MAX)),
    ]
    counts = "\n".join(f"{count} x {kind}" for kind, count in sorted(found[name].items()))
    return {**found, name: counts or None, "failed": "\n".join(failed) or None}


def standing(job: dict[str, Any]) -> str:
    """The state of a job, and what a planned one waits for."""
    if job["state"] == "failed":
        return f"failed ({FAILURES_MAX} in a row)"
    if job["state"] != "planned":
        return str(job["state"])
    if job["dry_run"]:
        return "planned (dry run)"
    return "planned (a second key must confirm)" if job["needs_confirmation"] else "planned (looking through)"


def _commands(found: dict[str, Any]) -> str:
    return "\n".join(
        f"{one['count']} x {kind}" + (f", {one['amount'] / 100:,.2f} in all" if one["amount"] else "")
        for kind, one in sorted(found.items())
    )
