"""`cardrail run`: everything up by one command, told where it is, and gone with Ctrl-C."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import httpx

from tests.patience import PATIENCE_S


async def test_everything_comes_up_on_free_ports_and_ends_with_ctrl_c(dsn: str, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("CARDRAIL_", "STRIPE_"))}
    env |= {"DATABASE_URL": dsn, "CARDRAIL_PORT": "0", "CARDRAIL_SANDBOX_PORT": "0", "COLUMNS": "200"}
    command = [sys.executable, "-m", "app", "run"]
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, env=env, stdout=PIPE, stderr=log)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            said = await told(process.stdout)
            key = {"Authorization": f"Bearer {said['API key (admin)']}"}
            sandbox = said["Stripe is"].split()[-1]
            async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
                while True:
                    if await ready(http, f"{said['API'].removesuffix('/v1')}/readyz"):
                        break
                    await asyncio.sleep(0.05)
                destinations = (await http.get(f"{said['API']}/destinations", headers=key)).json()["data"]
                assert {row["url"] for row in destinations} == {said["Stripe posts to"]}
                process.send_signal(signal.SIGINT)
                assert await process.wait() == 0
                assert not await ready(http, f"{sandbox}/_sandbox/idle")
    finally:
        if process.returncode is None:
            process.kill()


async def test_a_second_run_leaves_the_first_ones_sandbox_alone(dsn: str) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("CARDRAIL_", "STRIPE_"))}
    asked: list[bytes] = []

    async def first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.close()

    async with await asyncio.start_server(first, "127.0.0.1", 0) as other:
        taken = str(other.sockets[0].getsockname()[1])
        env |= {"DATABASE_URL": dsn, "CARDRAIL_PORT": "0", "CARDRAIL_SANDBOX_PORT": taken}
        command = [sys.executable, "-m", "app", "run"]
        process = await asyncio.create_subprocess_exec(*command, env=env, stdout=PIPE, stderr=PIPE)
        async with asyncio.timeout(PATIENCE_S):
            _, said = await process.communicate()
    assert (process.returncode, asked) == (1, [])
    assert "CARDRAIL_SANDBOX_PORT" in said.decode()


async def told(stdout: asyncio.StreamReader) -> dict[str, str]:
    """What the command says of itself, line by line, up to the key."""
    said: dict[str, str] = {}
    while "API key (admin)" not in said:
        line = (await stdout.readline()).decode()
        assert line, "it ended before it came up"
        if row := re.fullmatch(r"([A-Z].*?)\s{2,}(\S.*)\n", line):
            said[row[1]] = row[2]
    return said


async def ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).is_success
    except httpx.TransportError:
        return False
