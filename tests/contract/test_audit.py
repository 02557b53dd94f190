"""Every write leaves a row that says who did it, and is done once under its key: all write routes are walked."""

from typing import Any

import httpx
import pytest
import yaml

from tests.contract.conftest import DESCRIPTION, Live
from tests.contract.test_schemathesis import ACCOUNT, lay_out, park
from tests.patience import PATIENCE_S, ends_within

CHANGES_NOTHING = {"try_authorization"}
KEPT_NOWHERE = "secrets"
"""The member of an answer that is empty when it is given again."""
AUDITED_THOUGH_REFUSED = {"change_pin", "make_ephemeral_key"}
"""They pass through to Stripe, which does not know this account: the row says what Stripe said."""
LAID_OUT = {
    "payout_method": ("payout_method", "eligible"),
    "setup_intent": ("outbound_setup_intent", "requires_payout_method"),
    "transfer": ("outbound_transfer", "processing"),
    "financial_account": ("financial_account", "open"),
    "dispute": ("dispute", "unsubmitted"),
    "ipi_1": ("issuing_transaction", "capture"),
}
"""Things that a path or a body names: their kinds and states; called as the path's parameter or the body's example."""
BODIES: dict[str, dict[str, Any]] = {
    "create_subscription": {"url": "https://127.0.0.1:9/notices", "types": ["*"]},
    "change_subscription": {"description": "changed"},
    "start_backfill": {"account": ACCOUNT, "since": "2026-11-24T10:00:00Z", "dry_run": False, "reason": "r"},
    "start_reconciliation": {"account": ACCOUNT, "dry_run": False, "reason": "r"},
    "start_replay": {"filter": {"account": ACCOUNT}, "dry_run": False, "reason": "r", "rate": 1},
}


@pytest.mark.slow
async def test_every_write_leaves_a_row_in_the_audit_and_is_done_once_under_its_key(live: Live) -> None:
    await lay_out(live.pool)
    await live.pool.execute("UPDATE accounts SET hold = NULL")  # what others that share the service may have set
    await live.pool.execute("DELETE FROM brakes")
    known = await lay_out_more(live)
    unproven: dict[str, object] = {}
    headers = {"Authorization": f"Bearer {live.parts.key}"}
    async with httpx.AsyncClient(base_url=live.parts.url, headers=headers, timeout=PATIENCE_S) as http:
        for path, method, operation in writes():
            name = operation["operationId"]
            if "fingerprint" in path:
                await park(live.pool)
                groups = (await http.get("/v1/parked")).json()["data"]
                what = "command" if name == "discard_parked" else "event"
                known["fingerprint"] = next(row["fingerprint"] for row in groups if row["what"] == what)
            known |= await prepared(live, name, known)
            before = await rows(live)
            asked = http.build_request(
                method, filled(path, operation, known), headers={"Idempotency-Key": name}, **body_of(operation)
            )
            answer = await http.send(asked)
            again = await http.send(asked) if answer.is_success else None
            noted = await rows(live) - before
            as_wanted = name in AUDITED_THOUGH_REFUSED if again is None else equal(answer, again)
            if not as_wanted or noted != (name not in CHANGES_NOTHING):
                unproven[name] = (answer.status_code, noted, answer.text)
            if name in {"create_subscription", "start_replay"} and answer.is_success:
                known["subscription_id" if "subscription" in name else "started"] = answer.json()["id"]
    assert unproven == {}


def equal(first: httpx.Response, again: httpx.Response) -> bool:
    """Whether the second answer is the first, given again."""
    if again.headers.get("Idempotent-Replayed") != "true" or again.status_code != first.status_code:
        return False
    told, retold = first.json(), again.json()
    return {name for name in told if told[name] != retold[name]} <= {KEPT_NOWHERE}


async def lay_out_more(live: Live) -> dict[str, str]:
    """The other things that are acted on; their ids by the names of the parameters."""
    for name, (kind, state) in LAID_OUT.items():
        await live.pool.execute(
            "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)"
            " VALUES ($1, $2, $3, $4, $5, now())",
            ACCOUNT,
            name,
            kind,
            state,
            {"amount": -1_250} if kind == "issuing_transaction" else {},
        )
    return {name: name for name in LAID_OUT}


async def unfolded(live: Live) -> bool:
    """Whether something that was asked for before is still to be folded: it would write the account's facts anew."""
    asked = "SELECT EXISTS (SELECT FROM events WHERE account_id = $1 AND status = 'pending')"
    return bool(await live.pool.fetchval(asked, ACCOUNT))


async def prepared(live: Live, name: str, known: dict[str, str]) -> dict[str, str]:
    """What must be so right before an operation can be done, and the ids that it takes."""
    match name:
        case "allow_attempt":
            facts = {"enrolled": True, "seen": True, "state": "activated"}
            facts |= {"intents": {"financial_account/1": "rejected:x"}}
            await ends_within(PATIENCE_S, lambda: unfolded(live))
            await live.pool.execute("UPDATE accounts SET facts = $2 WHERE account_id = $1", ACCOUNT, facts)
        case "confirm_replay":
            await live.pool.execute(
                "INSERT INTO replays (id, state, mode, filter, rate, reason, by, by_key, forecast) VALUES"
                " ('rpl_waits', 'planned', 'force', $1, 1, 'r', 'somebody else', 'key_else', $2)",
                {"account": "acct_nobody"},
                {"complete": True, "amount": 1_000_000},
            )
            return {"replay_id": "rpl_waits"}
        case "stop_replay":
            return {"replay_id": known["started"]}
        case "retry_delivery":
            await live.pool.execute(
                "INSERT INTO notices (account_id, notice_id, subscription_id, type, body, status)"
                " VALUES ($1, 'msg_failed', $2, 'subscription.test', '{}', 'failed')",
                ACCOUNT,
                known["subscription_id"],
            )
            return {"delivery_id": "msg_failed"}
        case _:
            pass
    return {}


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
    """How many there are, without those that say how a job ended: they come when it does."""
    ended = ["replays.finished", "replays.failed"]
    return int(await live.pool.fetchval("SELECT count(*) FROM operator_actions WHERE action <> ALL($1)", ended))


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
    return {"json": {**body, "dry_run": False} if "dry_run" in body else body}
