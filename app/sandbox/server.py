"""Serving from the command line: one JSON line with the URL once it listens."""

import json
import socket
import sys

import uvicorn

from app.sandbox.application import create_app
from app.sandbox.settings import SandboxSettings

__all__ = ["create_app", "run"]


class _Server(uvicorn.Server):
    """Says where it listens, once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for listening in server.sockets:
                host, port = listening.getsockname()[:2]
                sys.stdout.write(json.dumps({"url": f"http://{host}:{port}"}) + "\n")
                sys.stdout.flush()
                return


def run(settings: SandboxSettings) -> None:
    """Serve until interrupted. Prints one JSON line with the URL when ready."""
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        lifespan="on",
    )
    _Server(config).run()
