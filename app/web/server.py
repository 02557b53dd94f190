"""Runs the web application: receiver, API and, in the same process, as many workers as asked for."""

import contextlib

import uvicorn

from app.config import Settings
from app.web.main import create_app, door_of
from app.web.webhooks import FrontDoor, calm_collector
from app.wiring import open_services, process_name, working


async def serve(settings: Settings, *, host: str, port: int, workers: int) -> None:
    """Serve until SIGINT or SIGTERM. ``workers=0`` runs none: they are then other processes' duty."""
    async with open_services(settings) as services:
        authorize = services.authorizer.answer
        front = FrontDoor(create_app(services, authorize), services.receiver, door_of(services, authorize))
        config = uvicorn.Config(
            front,
            host=host,
            port=port,
            loop="uvloop",
            http="httptools",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
        server = uvicorn.Server(config)
        calm_collector()
        async with working(services, process_name("serve"), workers) if workers else contextlib.nullcontext():
            await server.serve()
