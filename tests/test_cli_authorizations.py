"""`cardrail authorizations` over a real database."""

from pathlib import Path

import orjson
import pytest

from app.store import db
from tests.flow.purchases import ACCOUNT, Builder, ask, request, seed
from tests.test_cli import cardrail, told


@pytest.fixture(autouse=True)
def environment(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DATABASE_URL": dsn, "PLATFORM_ACCOUNT_ID": "acct_platform", "COLUMNS": "200"}.items():
        monkeypatch.setenv(name, value)


async def test_decisions_are_listed_and_shown(pool: db.Pool, build: Builder) -> None:
    await seed(pool)
    authorizer = await build()
    await ask(authorizer, request(100, authorization="iauth_1"), "evt_1")
    await ask(authorizer, request(2_000_000, authorization="iauth_2"), "evt_2")
    await pool.execute("UPDATE decisions SET stripe_approved = false, stripe_reason = 'x'")
    listed = (await told("authorizations", "list", "--account", ACCOUNT, "--declined"))["data"]
    assert [(row["authorization"], row["reason"]) for row in listed] == [("iauth_2", "cap_exceeded")]
    assert [r["authorization"] for r in (await told("authorizations", "list", "--mismatch"))["data"]] == ["iauth_1"]
    assert (await told("authorizations", "show", "iauth_1"))["decisions"][0]["inputs"]["available"] == 10_000
    assert (await cardrail("authorizations", "show", "iauth_none")).exit_code == 1


async def test_other_rules_are_tried_before_they_are_in_force(pool: db.Pool, build: Builder, tmp_path: Path) -> None:
    await seed(pool)
    await ask(await build(), request(100, authorization="iauth_1"), "evt_1")
    assert (await told("authorizations", "try", "--event", "evt_1"))["approved"]
    stricter = tmp_path / "stricter.toml"
    stricter.write_text("[authorization]\nall_time = 99\n")
    tried = await told("authorizations", "try", "--event", "evt_1", "--programme", str(stricter))
    assert tried["reason"] == "spending_limit_all_time"
    file = tmp_path / "asked.json"
    file.write_bytes(orjson.dumps(request(20_000)))
    given = await told("authorizations", "try", "--file", str(file), "--account", ACCOUNT)
    assert given["reason"] == "insufficient_balance"
    assert (
        "Above a limit over all time"
        in (await cardrail("authorizations", "try", "--event", "evt_1", "--programme", str(stricter))).stdout
    )
    assert await pool.fetchval("SELECT count(*) FROM decisions") == 1


async def test_what_cannot_be_tried_is_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "asked.json"
    file.write_text("{}")
    wrong = [
        ("--file", str(file), "--account", "acct_1"),
        ("--file", str(tmp_path / "none.json")),
        ("--event", "evt_1", "--file", str(file)),
        ("--event", "evt_1", "--programme", str(tmp_path / "none.toml")),
        (),
    ]
    for arguments in wrong:
        assert (await cardrail("authorizations", "try", *arguments)).exit_code == 2, arguments
    assert (await cardrail("authorizations", "try", "--event", "evt_none")).exit_code == 1
