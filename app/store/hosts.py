"""A connection to whichever of several hosts may be written to.

The rule it enforces: a host that is silent (its machine is gone, or hangs) keeps nobody waiting. Hosts are tried in the
order of the URL, each ``STAGGER_S`` after the one before or as soon as that one failed, and the first that may be used is
taken; asyncpg alone would spend the whole timeout on the first. Whatever keeps all of them from being used is told as a
ConnectionError, for a server that is not there yet and one that only reads are the same trouble: it may pass.
"""

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

STAGGER_S = 0.25


def plain_dsn(url: str) -> str:
    """The URL as libpq and asyncpg read it: SQLAlchemy's driver suffix taken off, a writable host demanded of several."""
    scheme, rest = url.split("://", 1)
    parts = urlsplit(f"postgresql://{rest}" if scheme.startswith("postgres") else url)
    query = dict(parse_qsl(parts.query))
    hosts = query.get("host") or parts.netloc
    if "," in hosts:
        query.setdefault("target_session_attrs", "read-write")
    return urlunsplit(parts._replace(query=_written(query)))


def each(dsn: str) -> list[str]:
    """The URL of each host of a plain one, in their order."""
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query))
    who, at, netloc = parts.netloc.rpartition("@")
    named = query.get("host")
    hosts, ports = (named or netloc).split(","), query.get("port", "").split(",")
    made = []
    for n, host in enumerate(hosts):
        own = {**query, "host": host} if named else query
        if len(ports) == len(hosts) > 1:
            own = {**own, "port": ports[n]}
        made.append(urlunsplit(parts._replace(netloc=parts.netloc if named else who + at + host, query=_written(own))))
    return made


async def connect(dsn: str, **options: Any) -> asyncpg.Connection:
    """As ``asyncpg.connect``, to the first host that may be used; ``timeout`` is for each. Raises what a single host
    raises, or a ConnectionError that says of each host why not.
    """
    hosts = each(dsn)
    if len(hosts) == 1:
        return await _one(dsn, options)
    running: dict[asyncio.Task[asyncpg.Connection], str] = {}
    failed: list[str] = []
    try:
        for n, host in enumerate(hosts, 1):
            running[asyncio.create_task(_one(host, options))] = host
            made = await _looked(running, failed, None if n == len(hosts) else STAGGER_S)
            if made is not None:
                return made
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_dropped)
    raise ConnectionError("; ".join(failed))


async def _looked(
    running: dict[asyncio.Task[asyncpg.Connection], str], failed: list[str], within_s: float | None
) -> asyncpg.Connection | None:
    """The first connection made; None when one failed or was silent ``within_s``, or without a limit when all failed."""
    while running:
        done, _ = await asyncio.wait(running, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        for task in [task for task in running if task in done]:
            error = task.exception()
            if error is None:
                running.pop(task)
                return task.result()
            failed.append(f"{_name(running.pop(task))}: {type(error).__name__}: {error}")
        if within_s is not None:
            return None
    return None


async def _one(dsn: str, options: dict[str, Any]) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(dsn, **options)
    except asyncpg.TargetServerAttributeNotMatched as error:
        raise ConnectionError("it does not take writes now") from error


def _dropped(task: asyncio.Task[asyncpg.Connection]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().terminate()


def _name(dsn: str) -> str:
    parts = urlsplit(dsn)
    return dict(parse_qsl(parts.query)).get("host") or parts.netloc.rpartition("@")[2]


def _written(query: dict[str, str]) -> str:
    return urlencode(query, safe="/,:")
