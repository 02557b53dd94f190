"""A journal line with the chain behind it, and an event with what it did, drawn for a terminal."""

from typing import Any

import orjson

Line = dict[str, Any]


def drawn(line: Line) -> str:
    """``line`` as ``shown.chained_line`` gives it."""
    text = [_moved(line)]
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


def event_in_words(found: dict[str, Any]) -> dict[str, Any]:
    """An event as ``whole.event`` gives it: what it did, came from and led to a line each; bodies last, indented."""
    chain = found["chain"]
    return {
        **{name: value for name, value in found.items() if name not in {"chain", "payload", "fetched"}},
        "journal": "\n".join(_moved(line).strip() for line in found["journal"]) or None,
        "caused_by": "\n".join(map(_link, chain["caused_by"])) or None,
        "caused": "\n".join(map(_link, chain["caused"])) or None,
        "payload": _indented(found["payload"]),
        "fetched": _indented(found["fetched"]),
    }


def _indented(body: object) -> object:
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).decode() if isinstance(body, dict | list) else body


def _link(one: dict[str, Any]) -> str:
    return " ".join(str(one[name]) for name in ("what", "type", "id", "status") if one.get(name))


def _moved(line: Line) -> str:
    moved = line["to"] if line["from"] in {None, line["to"]} else f"{line['from']} -> {line['to']}"
    note = f"  ({line['note']})" if line["note"] else ""
    return f"{line['seq']:>4}  {line['at']:%Y-%m-%d %H:%M:%S}Z  {line['machine']} {line['object_id']}: {moved}{note}"


def _caused(event: Line, account: str) -> str:
    elsewhere = f" in the log of {event['account']}" if event["account"] != account else ""
    return f"      -> {event['source']} {event['type']} {event['id']} {event['status']}{elsewhere}"
