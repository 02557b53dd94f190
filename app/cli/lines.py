"""A journal line and the chain behind it, drawn for a terminal."""

from typing import Any

Line = dict[str, Any]


def drawn(line: Line) -> str:
    """``line`` as ``shown.chained_line`` gives it."""
    moved = line["to"] if line["from"] in {None, line["to"]} else f"{line['from']} -> {line['to']}"
    note = f"  ({line['note']})" if line["note"] else ""
    text = [f"{line['seq']:>4}  {line['at']:%Y-%m-%d %H:%M:%S}Z  {line['machine']} {line['object_id']}: {moved}{note}"]
    event = line["event"]
    if event is not None:
        cause = f", caused by {event['caused_by']}" if event["caused_by"] else ""
        text.append(f"      <- {event['source']} {event['type']} {event['id']}{cause}")
        text += [_caused(one, line["account"]) for one in event["caused"]]
    for command in line["issued"]:
        parts = [command["kind"] or "command", command["id"], command["status"] or "unknown", command["object_id"]]
        error = command["error"].get("code") if isinstance(command["error"], dict) else None
        text.append("      -> " + " ".join(part for part in (*parts, error) if part))
        text += [f"   {_caused(one, line['account'])}" for one in command["caused"]]
    return "\n".join(text)


def _caused(event: Line, account: str) -> str:
    elsewhere = f" in the log of {event['account']}" if event["account"] != account else ""
    return f"      -> {event['source']} {event['type']} {event['id']} {event['status']}{elsewhere}"
