"""How a bulk replay is shown on a terminal: what it would do in words, not as JSON."""

from typing import Any


def in_words(job: dict[str, Any]) -> dict[str, Any]:
    """The job with its forecast told member by member; without one it stays as it is."""
    told, said = {k: v for k, v in job.items() if k != "forecast"}, job.get("forecast")
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


def _commands(found: dict[str, Any]) -> str:
    return "\n".join(
        f"{one['count']} x {kind}" + (f", {one['amount'] / 100:,.2f} in all" if one["amount"] else "")
        for kind, one in sorted(found.items())
    )
