"""A database that is not there, or takes no writes, is said in words, and what can still be read is still read."""

import socket
from pathlib import Path

import asyncpg
import httpx
import pytest
from typer.testing import CliRunner

from app.cli import build
from app.ops import doctor
from app.store import keys, trouble
from app.web.main import create_app
from app.wiring import Services
from tests.web.conftest import services_with


async def _read_only(services: Services) -> None:
    """As a server does that lost its disk or its primary: every session from now on may only read."""
    name = await services.pool.fetchval("SELECT current_database()")
    await services.pool.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    for pool in (services.pool, services.api_pool):
        await pool.expire_connections()


async def test_a_database_that_takes_no_writes_is_still_read_and_its_refusals_are_503(dsn: str) -> None:
    async with services_with(dsn) as services:
        async with services.pool.acquire() as conn:
            _, key = await keys.create(conn, name="me", scope="admin")
        await _read_only(services)
        transport = httpx.ASGITransport(create_app(services), raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://cardrail", headers=headers) as api:
            assert (await api.get("/v1/accounts")).status_code == 200
            refused = await api.put("/v1/brakes/create_card", json={"on": True, "reason": "r"})
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert refused.headers["retry-after"]
            health = (await api.get("/readyz")).json()["checks"]["database"]
            assert health == {"ok": False, "detail": "takes no writes"}
        found = {check.check: check for check in await doctor.examine(services)}
        assert (found["database"].state, "read only" in found["database"].says) == ("wrong", True)


async def test_a_database_that_is_well_is_said_to_be(dsn: str) -> None:
    async with services_with(dsn) as services:
        (found,) = [check for check in await doctor.examine(services) if check.check == "database"]
        assert (found.state, found.says) == ("ok", "answers and takes writes")


@pytest.mark.parametrize("arguments", [["doctor", "--json"], ["accounts", "list"]])
def test_the_command_line_says_where_no_database_listens_and_no_password(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://ana:geheim@/cardrail?host={tmp_path}")
    ran = CliRunner().invoke(build(), arguments)
    assert ran.exit_code == 1
    assert f"PostgreSQL ({tmp_path}, database cardrail) does not listen there" in ran.output
    assert "geheim" not in ran.output


@pytest.mark.parametrize(
    ("error", "url", "words"),
    [
        (asyncpg.DiskFullError("could not extend file"), None, "The embedded PostgreSQL has no room left on its disk"),
        (TimeoutError(), "postgres://u:p@h:1,i/db?sslmode=require", "PostgreSQL (h:1,i, database db) does not"),
        (socket.gaierror("x"), "postgresql+asyncpg://u:p%40ss@db1/cardrail", "nobody knows"),
        (asyncpg.PostgresError("odd"), "postgresql:///", "cannot be used: PostgresError: odd"),
    ],
)
def test_each_trouble_has_a_sentence_of_its_own(error: Exception, url: str | None, words: str) -> None:
    said = trouble.in_words(error, url)
    assert words in said
    assert "p%40ss" not in said
