"""Schemathesis asks the running service all that openapi.yaml allows and forbids: every check it has, and no 5xx.

What it is told beside the description, with the reasons, stands in schemathesis.toml.
"""

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import orjson
import pytest

from tests.contract.conftest import DESCRIPTION, Live
from tests.web.conftest import add_account

CONFIG = Path(__file__).with_name("schemathesis.toml")
ACCOUNT = "acct_1SMxConnDemo"
COMMAND = "cmd_9c1185a5c5e9fc54612808977e"
FULL = os.environ.get("CONTRACT") == "full"
"""`make contract`: every phase and more examples; else what a test suite has time for."""
PHASES, EXAMPLES_MAX = ("examples,coverage,fuzzing", "10") if FULL else ("examples,fuzzing", "2")
SEED = "20261124"


async def lay_out(pool: asyncpg.Pool) -> None:
    """The things that the examples of the description name, so that requests reach further than a 404."""
    if await pool.fetchval("SELECT true FROM accounts WHERE account_id = $1", ACCOUNT):
        return
    await add_account(pool, ACCOUNT, state="live", seq=1, facts={"enrolled": True, "state": "live", "seen": True})
    for name, kind in (("ic_1", "card"), ("ich_1", "cardholder"), ("intok_1", "token")):
        await pool.execute(
            "INSERT INTO objects (account_id, object_id, kind, state, data, observed_at)"
            " VALUES ($1, $2, $3, 'active', $4, now())",
            ACCOUNT,
            name,
            kind,
            {"id": name, "status": "active"},
        )
    await pool.execute(
        "INSERT INTO journal (account_id, seq, machine, object_id, to_state, event_id, at)"
        " VALUES ($1, 1, 'card', 'ic_1', 'active', 'evt_1', now())",
        ACCOUNT,
    )
    await park(pool)


async def park(pool: asyncpg.Pool) -> None:
    """A parked event and a parked command, again if they were answered."""
    await pool.execute("DELETE FROM events WHERE event_id = 'evt_1'")
    await pool.execute("DELETE FROM outbox WHERE command_id = $1", COMMAND)
    await pool.execute(
        "INSERT INTO events (account_id, event_id, source, type, kind, created, payload, status, error)"
        " VALUES ($1, 'evt_1', 'webhook', 'issuing_card.created', 'snapshot', $2, $3, 'parked', $4)",
        ACCOUNT,
        datetime.now(UTC),
        orjson.dumps({"id": "evt_1", "object": "event", "type": "issuing_card.created", "data": {"object": {}}}),
        {"code": "no_object", "message": "data.object is missing."},
    )
    await pool.execute(
        "INSERT INTO outbox (account_id, command_id, kind, intent, idempotency_key, params, status, error, caused_by)"
        " VALUES ($1, $2, 'create_card', 'card/1', 'k', '{}', 'parked', $3, 'evt_1')",
        ACCOUNT,
        COMMAND,
        {"code": "cap_exceeded", "message": "Above the cap."},
    )


@pytest.mark.slow
@pytest.mark.timeout(1800 if FULL else 1200)
async def test_the_service_does_what_the_description_says(live: Live, tmp_path: Path) -> None:
    await lay_out(live.pool)
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        *("--config-file", str(CONFIG), "run", str(DESCRIPTION), "--url", live.parts.url),
        *("-H", f"Authorization: Bearer {live.parts.key}"),
        *("--checks", "all", "--phases", PHASES, "--max-examples", EXAMPLES_MAX, "--seed", SEED),
        *("--request-timeout", "20", "--continue-on-failure", "--no-color"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=tmp_path,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    defects = await live.pool.fetch("SELECT event_id, error FROM events WHERE error->>'code' = 'poisoned'")
    assert [dict(row) for row in defects] == []
