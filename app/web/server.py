"""Runs the web application: receiver, API and, in the same process, as many workers as asked for."""

import asyncio
import contextlib
import errno
import signal
import socket
import time
from collections.abc import Callable, Iterator

import uvicorn

from app import metrics
from app.config import Settings
from app.errors import ConfigError
from app.web.main import create_app, door_of
from app.web.one_write import OneWriteProtocol
from app.web.slow import Patience
from app.web.webhooks import FrontDoor, calm_collector
from app.wiring import measuring, open_services, process_name, warn_of_known_key, working

STOP_MAX_S = 10
"""How long requests that are under way may take once the process is told to end."""

LOOK_EVERY_TICKS = 10
"""uvicorn's ticks are a tenth of a second."""


class _Server(uvicorn.Server):
    """Ends on SIGINT and SIGTERM without raising the signal anew: what stands around it must still be closed.

    ``before_stop`` is called first, so that requests which only wait come to their end. Slow clients are ended (``slow``).
    """

    def __init__(
        self, config: uvicorn.Config, before_stop: Callable[[], None], patience: Patience | None = None
    ) -> None:
        super().__init__(config)
        self._before_stop = before_stop
        self._patience = patience or Patience()

    async def on_tick(self, counter: int) -> bool:
        if counter % LOOK_EVERY_TICKS == 0:
            self._patience.look([*self.server_state.connections], time.monotonic())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._before_stop()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, self.handle_exit, name, None)
        yield


async def serve(settings: Settings, *, host: str, port: int, workers: int) -> None:
    """Serve until SIGINT or SIGTERM. ``workers=0`` runs none: they are then other processes' duty.

    Raises ConfigError, before anything is opened, when nothing can listen at this address.
    """
    warn_of_known_key(settings)
    metrics.role("server")
    with contextlib.ExitStack() as bound:
        listening = [bound.enter_context(one) for one in _bound(host, port)]
        await _serve(settings, listening, workers)


def _bound(host: str, port: int) -> list[socket.socket]:
    """Sockets at the address. They listen once the application is up, so that nobody is let in sooner."""
    made: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(
            socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        ):
            made.append(socket.socket(family, kind, protocol))
            made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made[-1].bind(address)
            made[-1].setblocking(False)
    except OSError as error:
        for one in made:
            one.close()
        why = "the port is taken" if error.errno == errno.EADDRINUSE else str(error.strerror)
        said = f"Cannot listen on {host}:{port}: {why}. Name another with --host and --port."
        raise ConfigError(said, code="cannot_listen") from error
    return made


async def _serve(settings: Settings, listening: list[socket.socket], workers: int) -> None:
    async with open_services(settings) as services:
        authorize = services.authorizer.answer
        app = create_app(services, authorize)
        front = FrontDoor(app, services.receiver, door_of(services, authorize))
        config = uvicorn.Config(
            front,
            http=OneWriteProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_MAX_S,
        )
        server = _Server(config, app.state.watch.close)
        calm_collector()
        worker = working(services, process_name("serve"), workers) if workers else contextlib.nullcontext()
        async with measuring(services), worker:
            await server.serve(sockets=listening)
