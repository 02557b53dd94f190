"""A client that openapi-python-client makes of openapi.yaml compiles, and works against the running service."""

import asyncio
import compileall
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest

from tests.contract.conftest import DESCRIPTION, Live
from tests.patience import PATIENCE_S
from tests.web.test_api_enrollments import body

NAME = "cardrail_client"
WAIT_MAX_S = 60


class Import(Protocol):
    """Imports a module of the generated client by its name in it."""

    def __call__(self, name: str) -> Any: ...


@pytest.fixture(scope="module")
async def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's folder. No warning is let pass, and no formatter is run on it."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "config.yaml").write_text("post_hooks: []\n")
    command = ["generate", "--path", str(DESCRIPTION), "--output-path", str(folder / NAME), "--meta", "none"]
    options = ["--config", str(folder / "config.yaml"), "--fail-on-warning"]
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("openapi-python-client")),
        *command,
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return folder


@pytest.fixture
def client_module(generated: Path) -> Iterator[Import]:
    sys.path.insert(0, str(generated))

    def load(name: str) -> ModuleType:
        return importlib.import_module(f"{NAME}.{name}")

    yield load
    sys.path.remove(str(generated))


async def test_every_module_of_the_client_compiles_and_can_be_imported(generated: Path, client_module: Import) -> None:
    assert compileall.compile_dir(generated, quiet=1, force=True)
    modules = [path.relative_to(generated / NAME) for path in (generated / NAME).rglob("*.py")]
    names = [".".join(path.with_suffix("").parts) for path in modules if path.name != "__init__.py"]
    assert len(names) > 80
    for name in names:
        client_module(name)


@pytest.mark.slow
async def test_the_client_enrolls_waits_reads_and_understands_problems(live: Live, client_module: Import) -> None:
    at = client_module("client").AuthenticatedClient(base_url=live.parts.url, token=live.parts.key, timeout=PATIENCE_S)
    models, accounts, enrollments = client_module("models"), "api.accounts", "api.enrollments"
    async with at as client:
        asked = models.EnrollmentRequest.from_dict(body(reference="contract-1"))
        taken = await client_module(f"{enrollments}.enroll").asyncio(client=client, body=asked, idempotency_key="c1")
        assert (taken.state, taken.href) == ("requested", f"/v1/enrollments/{taken.id}")
        read = client_module(f"{enrollments}.read_enrollment").asyncio
        async with asyncio.timeout(PATIENCE_S):
            while (made := await read(taken.id, client=client)).account is None:  # noqa: ASYNC110 - polls as callers do
                await asyncio.sleep(0.05)
        account = await client_module(f"{accounts}.read_account").asyncio(
            made.account, client=client, wait_for=models.ReadAccountWaitForType0("live"), timeout_s=WAIT_MAX_S
        )
        assert isinstance(account, models.Account)
        assert (account.state.value, account.reference) == ("live", "contract-1")
        assert account.balance.available.value > 0
        listed = await client_module(f"{accounts}.list_accounts").asyncio(client=client, country="mx", limit=200)
        assert made.account in [row.id for row in listed.data]
        journal = await client_module(f"{accounts}.read_journal").asyncio(made.account, client=client)
        assert [line.seq for line in journal.data] == list(range(1, len(journal.data) + 1))
        missing = await client_module(f"{accounts}.read_account").asyncio("acct_nobody", client=client)
        assert isinstance(missing, models.Problem)
        assert (missing.status, missing.code) == (404, "not_found")
        wrong = models.EnrollmentRequest.from_dict(body(country="FR"))
        refused = await client_module(f"{enrollments}.enroll").asyncio(client=client, body=wrong)
        assert (refused.code, refused.errors[0].field) == ("country_not_in_programme", "country")
