"""`cardrail serve | worker | run | demo | sandbox`: the processes."""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import httpx
import typer

from app.cli.desk import ending, err, out, settings
from app.config import Settings
from app.errors import Unavailable
from app.log import configure_logging

SANDBOX_START_MAX_S = 30.0


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; absent: CARDRAIL_HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; absent: CARDRAIL_PORT.")] = None,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Workers in this process; 0: none.")] = 1,
) -> None:
    """Receiver, API and one in-process worker, until Ctrl-C."""
    given = settings()
    configure_logging(level=given.log_level, form=given.log_format)
    ending(lambda: _run_loop(_serve(_at(given, host, port), workers)))


def _run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run ``main`` on uvloop, which halves what a request costs, where there is one."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if sys.platform != "win32":
        import uvloop  # noqa: PLC0415 - only processes that serve need it

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def _at(given: Settings, host: str | None, port: int | None) -> Settings:
    changes: dict[str, object] = {"host": host, "port": port}
    return given.but(**{name: value for name, value in changes.items() if value is not None})


async def _serve(given: Settings, workers: int) -> None:
    from app.web.server import serve as run_server  # noqa: PLC0415 - other commands start without the web stack

    await run_server(given, host=given.host, port=given.port, workers=workers)


def worker(
    metrics_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Serve /metrics of this worker here.")
    ] = None,
) -> None:
    """One more worker, until Ctrl-C. Any number may run, on any machine."""
    from app.wiring import run_worker  # noqa: PLC0415 - only a worker needs it

    given = settings()
    configure_logging(level=given.log_level, form=given.log_format)
    ending(lambda: _run_loop(run_worker(given, metrics_port)))


def demo(
    accounts: Annotated[int, typer.Option(min=1, max=10_000, help="Accounts in the fleet.")] = 25,
    faults: Annotated[bool, typer.Option("--faults/--no-faults", help="Let the sandbox misbehave.")] = True,
    kills: Annotated[int, typer.Option(min=0, max=100, help="How often server and worker are killed meanwhile.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Take a fleet of accounts through the whole guide against the sandbox."""
    from app.demo.main import main  # noqa: PLC0415 - only the demo needs it

    given = settings()
    configure_logging(level="warning", form=given.log_format)
    code = ending(lambda: main(given, accounts=accounts, faults=faults, as_json=as_json, kills=kills), as_json=as_json)
    raise typer.Exit(code)


def sandbox(context: typer.Context) -> None:
    """A small Stripe that remembers. Options as in `python -m app.sandbox --help`."""
    os.execv(sys.executable, [sys.executable, "-m", "app.sandbox", *context.args])  # noqa: S606 - our own module


def run(
    host: Annotated[str | None, typer.Option(help="Address to listen on; absent: CARDRAIL_HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; absent: CARDRAIL_PORT.")] = None,
) -> None:
    """Service, worker and, without a Stripe key, the sandbox, until Ctrl-C; prints the URLs and an API key."""
    given = _with_ports(_at(settings(), host, port))
    configure_logging(level=given.log_level, form=given.log_format)
    if given.admin_key is None:
        given = given.but(admin_key=f"ck_{secrets.token_hex(24)}")
    ending(lambda: _run_loop(_run(given)))


def _with_ports(given: Settings) -> Settings:
    """Choose the free ports now that were left open: each part must be told the other's."""
    from app.demo.processes import free_port  # noqa: PLC0415 - `serve` and `worker` need none

    return given.but(port=given.port or free_port(), sandbox_port=given.sandbox_port or free_port())


async def _run(given: Settings) -> None:
    part = _start_sandbox(given) if given.uses_sandbox else None
    try:
        if part is not None:
            await _introduce(given, part)
        _greet(given)
        await _serve(given, workers=1)
    finally:
        if part is not None:
            part.send_signal(signal.SIGTERM)
            await asyncio.to_thread(part.wait, 10)


def _must_be_free(port: int) -> None:
    """Whoever listens there would be taken for our sandbox: a second run would post the first one's events to itself."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            said = (
                f"The sandbox cannot listen on 127.0.0.1:{port}: {error.strerror}. Name another: CARDRAIL_SANDBOX_PORT."
            )
            raise Unavailable(said) from error


def _start_sandbox(given: Settings) -> "subprocess.Popen[bytes]":
    _must_be_free(given.sandbox_port)
    command = [sys.executable, "-m", "app.sandbox", "--port", str(given.sandbox_port)]
    quiet = subprocess.DEVNULL  # the greeting names its address
    return subprocess.Popen(command, stdin=quiet, stdout=quiet, start_new_session=True)  # noqa: S603 - our own module


async def _introduce(given: Settings, part: "subprocess.Popen[bytes]") -> None:
    """Wait for the sandbox, and tell it where our door is."""
    door = {"url": f"http://{given.host}:{given.port}/webhooks/stripe", "secret": given.webhook_secrets[0]}
    async with httpx.AsyncClient(base_url=given.api_base, timeout=5) as http, asyncio.timeout(SANDBOX_START_MAX_S):
        while not await _answers(http):
            if part.poll() is not None:
                raise Unavailable(f"The sandbox ended at its start (exit {part.returncode}).")
            await asyncio.sleep(0.1)
        for style in ("thin", "snapshot"):
            (await http.post("/_sandbox/destinations", json={**door, "event_payload": style})).raise_for_status()
        real_time = {"url": f"{door['url']}/authorizations", "secret": given.valid_authorization_secrets[0]}
        (await http.put("/_sandbox/authorization_endpoint", json=real_time)).raise_for_status()


async def _answers(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/_sandbox/idle")).is_success
    except httpx.HTTPError:
        return False


def _greet(given: Settings) -> None:
    lines: dict[str, Any] = {
        "Console": f"{given.base_url}/console",
        "API": f"{given.base_url}/v1",
        "Docs": f"{given.base_url}/docs",
        "Stripe posts to": f"{given.base_url}/webhooks/stripe",
        "Stripe is": f"the sandbox at {given.api_base}" if given.uses_sandbox else given.api_base,
        "API key (admin)": given.admin_key,
    }
    for name, value in lines.items():
        out.print(f"{name:<18}{value}", markup=False, highlight=False)
    err.print("Ctrl-C ends it.", style="dim")
