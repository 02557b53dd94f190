"""Every write leaves a row that says who did it: all write routes of the description are walked."""

from typing import Any

import httpx
import pytest
import yaml

from tests.contract.conftest import DESCRIPTION, Live
from tests.contract.test_schemathesis import ACCOUNT, lay_out, park
from tests.patience import PATIENCE_S

CHANGES_NOTHING = {"try_authorization"}
REACHED_MIN = 35
"""Of the others the thing they act on is not laid out; the folder of each has tests of its own."""
BODIES: dict[str, dict[str, Any]] = {
    "make_card": {"type": "virtual"},
    "replace_card": {"reason": "lost"},
    "create_subscription": {"url": "https://127.0.0.1:9/notices", "types": ["*"]},
    "change_subscription": {"description": "changed"},
    "start_reconciliation": {"account": ACCOUNT, "dry_run": False, "reason": "r"},
    "start_replay": {"filter": {"account": ACCOUNT}, "dry_run": False, "reason": "r", "rate": 1},
}


@pytest.mark.slow
async def test_every_write_leaves_a_row_in_the_audit(live: Live) -> None:
    await lay_out(live.pool)
    known: dict[str, str] = {}
    silent: list[str] = []
    audited: set[str] = set()
    headers = {"Authorization": f"Bearer {live.parts.key}"}
    async with httpx.AsyncClient(base_url=live.parts.url, headers=headers, timeout=PATIENCE_S) as http:
        for path, method, operation in writes():
            name = operation["operationId"]
            if "fingerprint" in path:
                await park(live.pool)
                groups = (await http.get("/v1/parked")).json()["data"]
                what = "command" if name == "discard_parked" else "event"
                known["fingerprint"] = next(row["fingerprint"] for row in groups if row["what"] == what)
            before = await rows(live)
            answer = await http.request(method, filled(path, operation, known), **body_of(operation))
            if answer.is_success and await rows(live) > before:
                audited.add(name)
            elif answer.is_success and name not in CHANGES_NOTHING:
                silent.append(name)
            if name in {"create_subscription", "start_replay"} and answer.is_success:
                known["subscription_id" if "subscription" in name else "replay_id"] = answer.json()["id"]
    assert silent == []
    assert len(audited) >= REACHED_MIN


def writes() -> list[tuple[str, str, dict[str, Any]]]:
    """The write operations, those that take something away last: a rebuild finds no log that explains the account."""
    document: dict[str, Any] = yaml.load(DESCRIPTION.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    found = [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "get" and path.startswith("/v1")
    ]
    assert len(found) > 40
    return sorted(found, key=lambda one: ("rebuilds" in one[0], one[1] == "delete" or "discard" in one[0]))


async def rows(live: Live) -> int:
    return int(await live.pool.fetchval("SELECT count(*) FROM operator_actions"))


def filled(path: str, operation: dict[str, Any], known: dict[str, str]) -> str:
    for parameter in operation.get("parameters", []):
        value = known.get(parameter["name"], parameter["schema"]["examples"][0])
        path = path.replace(f"{{{parameter['name']}}}", str(value))
    return path


def body_of(operation: dict[str, Any]) -> dict[str, Any]:
    if "requestBody" not in operation:
        return {}
    body = operation["requestBody"]["content"]["application/json"]["example"]
    body = BODIES.get(operation["operationId"], body)
    if operation["operationId"] == "make_cardholder":
        body = {name: value for name, value in body.items() if name != "company"}
    return {"json": {**body, "dry_run": False} if "dry_run" in body else body}
