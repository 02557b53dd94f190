"""The composition root: settings in, running parts out. Tests build the same object that production runs.

Nothing is built at import. What is opened here is closed here, in reverse order.
"""

import asyncio
import contextlib
import os
import signal
import socket
import time
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog

from app import metrics, sealing
from app.config import Settings, vocabulary
from app.errors import ConfigError
from app.flow import loops, receive
from app.flow.apply import Applier
from app.flow.authorize import SESSION, Authorizer
from app.flow.deliver import Deliverer
from app.flow.notify import Notifier
from app.flow.receive import Receiver
from app.machines import programme as policy
from app.machines.programme import Programme
from app.ops import subscriptions
from app.ops.alerts import Answerer
from app.ops.bookkeeper import Bookkeeper
from app.ops.differences import Differences
from app.ops.gaps import GapHunter
from app.ops.jobs import Replayer
from app.ops.newday import NewDay
from app.ops.polling import Poller
from app.ops.reconcile import Nudger
from app.ops.retention import Keeper
from app.ops.treasury import Treasury
from app.sealing import Keys
from app.store import alerts, data_keys, db, embedded, feed, gauges, heartbeats, platform, schema
from app.store import subscriptions as stored_subscriptions
from app.stripe.client import Stripe

LOG = structlog.get_logger()

APPLY_EVERY_S = 0.010
"""Events that trickle in are taken up together so often; a batch costs much more than an event in it."""
GRACE_S = 3.0
"""What calls Stripe when the service ends may take so long to hear the answer; else it is asked again under its key."""
HEARTBEAT_S = 2.0
GAUGES_S = 5.0
NUDGE_S = 5.0
ANNOUNCE_EVERY_S = 0.05
ANNOUNCE_IDLE_S = 60.0
KEYS_S = 30.0
ALERTS_S = 2.0
NEWDAY_S = 5.0
DIFFERENCES_S = 30.0
NOTIFY_POOL_SIZE = 2
WORKER_POOL_MIN = 5
"""A replay holds two connections while it wants a third; the gap hunter and retention hold one each that want another."""
READING = {"statement_timeout": "5000", "idle_in_transaction_session_timeout": "10000"}
"""A reader holds neither a connection nor old rows for longer, milliseconds."""


def now_ms() -> int:
    """The clock of the service: milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


@dataclass(kw_only=True)
class Services:
    """Everything a process of ours is made of. ``wake`` rings the in-process worker."""

    settings: Settings
    dsn: str
    keys: Keys
    pool: db.Pool
    api_pool: db.Pool
    receiver: Receiver
    authorizer: Authorizer
    stripe: Stripe
    programme: Programme
    platform_account: str
    platform_financial_account: str | None
    clock: Callable[[], int] = now_ms
    apply_bell: loops.Bell = field(default_factory=loops.Bell)
    deliver_bell: loops.Bell = field(default_factory=loops.Bell)
    lines_bell: loops.Bell = field(default_factory=loops.Bell)
    notify_bell: loops.Bell = field(default_factory=loops.Bell)

    def wake(self) -> None:
        """There may be new events: look at once instead of at the next poll."""
        self.apply_bell.ring()

    def wake_worker(self) -> None:
        """A command has its outcome: an event to apply, and room for another command."""
        self.apply_bell.ring()
        self.deliver_bell.ring()

    def wake_readers(self) -> None:
        """There are new journal lines: for streams, in whatever process, and for subscribers."""
        self.lines_bell.ring()
        self.notify_bell.ring()

    def wake_deliver(self) -> None:
        """There may be new commands."""
        self.deliver_bell.ring()


def load_programme(path: Path | None) -> Programme:
    """Read and check a programme; without a path the built-in one. Raises ConfigError that says what is wrong."""
    if path is None:
        return Programme()
    try:
        programme = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Programme)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        msg = f"CARDRAIL_PROGRAMME {path}: {error}"
        raise ConfigError(msg) from error
    wrong = policy.faults(programme)
    if wrong:
        msg = f"CARDRAIL_PROGRAMME {path}: " + "; ".join(wrong)
        raise ConfigError(msg)
    return programme


@contextlib.asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[str]:
    """The DSN of the database, started and migrated when it is the embedded one."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    server = await asyncio.to_thread(embedded.start, settings.data_dir)
    try:
        await schema.ensure(server.dsn())
        yield server.dsn()
    finally:
        await asyncio.to_thread(embedded.stop, server)


@contextlib.asynccontextmanager
async def open_services(settings: Settings, dsn: str | None = None) -> AsyncIterator[Services]:
    """Open pools and clients. Refuses an old schema, and a platform account that cannot be known."""
    async with contextlib.AsyncExitStack() as stack:
        where = dsn if dsn is not None else await stack.enter_async_context(open_database(settings))
        keys = keys_of(settings)
        pool = await db.open_pool(where, size=max(settings.pool_size, WORKER_POOL_MIN), name="worker", keys=keys)
        stack.push_async_callback(db.close, pool)
        await schema.check(pool)
        await unlock(pool, keys)
        api_pool = await db.open_pool(where, size=settings.pool_size, name="api", settings=READING, keys=keys)
        stack.push_async_callback(db.close, api_pool)
        ingest = await db.open_pool(
            where, size=settings.ingest_pool_size, name="receive", settings=receive.SESSION, keys=keys, hurried=True
        )
        stack.push_async_callback(db.close, ingest)
        stripe = stripe_of(settings)
        stack.push_async_callback(stripe.close)
        receiver = Receiver(ingest)
        stack.push_async_callback(receiver.settle)
        programme = load_programme(settings.programme_file)
        size = settings.authorization_pool_size
        deciding = await db.open_pool(where, size=size, name="authorize", settings=SESSION, keys=keys, hurried=True)
        stack.push_async_callback(db.close, deciding)
        authorizer = Authorizer(
            deciding,
            programme.authorization,
            deadline_ms=min(settings.authorization_deadline_ms, programme.authorization.deadline_ms),
            default_approve=programme.authorization.default_approve,
            version=settings.stripe_api_version,
            clock=now_ms,
        )
        stack.push_async_callback(authorizer.close)
        services = Services(
            settings=settings,
            dsn=where,
            keys=keys,
            pool=pool,
            api_pool=api_pool,
            receiver=receiver,
            authorizer=authorizer,
            stripe=stripe,
            programme=programme,
            platform_account=await platform_of(settings, stripe),
            platform_financial_account=settings.platform_financial_account_id,
        )
        receiver.on_new = services.wake
        yield services


def keys_of(settings: Settings) -> Keys:
    """The key-encryption keys of a process; its data keys come from the database."""
    return Keys(sealing.parse_keys(settings.encryption_keys))


def warn_of_known_key(settings: Settings) -> None:
    """Say at the start when the keys protect nothing; the local sandbox has nothing to protect."""
    if not settings.encryption_keys:
        say = LOG.error if settings.livemode else LOG.info if settings.uses_sandbox else LOG.warning
        say("encryption.known_key", help=f"set {sealing.SETTING}: personal data is sealed with a key that anyone knows")


async def unlock(pool: db.Pool, keys: Keys) -> None:
    """Read the data keys, and make the first. Raises ConfigError when the settings do not open them."""
    async with pool.acquire() as conn:
        async with conn.transaction():
            await data_keys.begin(conn, keys)
        await data_keys.load(conn, keys)


def stripe_of(settings: Settings) -> Stripe:
    """The client for these settings; whoever asks for it closes it."""
    per_s = 1_000 if settings.uses_sandbox else (100 if settings.livemode else 25)
    return Stripe(settings.stripe_api_key, settings.api_base, settings.stripe_api_version, rate_per_s=per_s)


async def platform_of(settings: Settings, stripe: Stripe) -> str:
    """The platform's own account: as set, else that of the key. Raises ConfigError when Stripe does not say it."""
    if settings.platform_account_id:
        return settings.platform_account_id
    answer = await stripe.read("/v1/account", context=None)
    account = getattr(answer, "object", {}).get("id")
    if not isinstance(account, str):
        why = getattr(answer, "code", "it names no account")
        msg = (
            f"PLATFORM_ACCOUNT_ID is missing, and {settings.api_base} does not say whose STRIPE_API_KEY this is: {why}."
        )
        raise ConfigError(msg, code="platform_unknown")
    return account


@contextlib.asynccontextmanager
async def working(services: Services, name: str, count: int = 1) -> AsyncIterator[None]:
    """Run ``count`` workers in this process for as long as the block lasts."""
    settings = services.settings
    applier = Applier(
        services.pool,
        services.stripe,
        services.programme,
        platform_account=services.platform_account,
        vocabulary=vocabulary(settings.stripe_api_version).configuration,
        clock=services.clock,
        platform_financial_account=services.platform_financial_account,
        on_commands=services.wake_deliver,
        on_lines=services.wake_readers,
        on_free=services.apply_bell.ring,
    )
    deliverer = Deliverer(
        services.pool,
        services.stripe,
        services.programme,
        platform_account=services.platform_account,
        platform_financial_account=services.platform_financial_account,
        version=settings.stripe_api_version,
        clock=services.clock,
        on_sent=services.wake_worker,
    )
    idle_s = settings.poll_interval_ms / 1000
    notify_pool = await db.open_pool(services.dsn, size=NOTIFY_POOL_SIZE, name="notify", keys=services.keys)
    notifier = Notifier(
        notify_pool,
        allowed=subscriptions.allowed(settings),
        ring=services.notify_bell.ring,
    )
    duties = [
        ("heartbeat", _beat(services, name), loops.Bell(), HEARTBEAT_S),
        ("nudge", Nudger(services).poll, loops.Bell(), NUDGE_S),
        ("treasury", Treasury(services).poll, loops.Bell(), 1.0),
        ("books", Bookkeeper(services).poll, loops.Bell(), 0.5),
        ("differences", Differences(services).poll, loops.Bell(), DIFFERENCES_S),
        ("newday", NewDay(services).poll, loops.Bell(), NEWDAY_S),
        ("polling", Poller(services).poll, loops.Bell(), 1.0),
        ("replay", Replayer(services).poll, loops.Bell(), 1.0),
        ("gaps", GapHunter(services).poll, loops.Bell(), 30.0),
        ("alerts", Answerer(services).poll, loops.Bell(), ALERTS_S),
        ("retention", Keeper(services).poll, loops.Bell(), 60.0),
        ("notify", notifier.poll, services.notify_bell, idle_s),
        ("announce", _announce(services), services.lines_bell, ANNOUNCE_IDLE_S),
    ]
    running = [loops.loop(role, poll, bell, idle_s=s) for role, poll, bell, s in duties]
    for _ in range(count):
        running += [
            loops.loop("apply", applier.poll, services.apply_bell, idle_s=idle_s, every_s=APPLY_EVERY_S),
            loops.loop("deliver", deliverer.poll, services.deliver_bell, idle_s=idle_s),
        ]
    try:
        async with _during(*running):
            yield
    finally:
        await asyncio.gather(deliverer.close(GRACE_S), applier.close(GRACE_S))
        await notifier.close()
        await db.close(notify_pool)


def measuring(services: Services) -> contextlib.AbstractAsyncContextManager[None]:
    """Keep an ear on the database, the gauges of /metrics true and the data keys current, for as long as the block lasts.

    What is heard wakes the workers of this process; when nothing more is, no pool waits for that server either.
    """
    return _during(
        loops.listen(lambda: db.connect(services.dsn), services.wake, lost=lambda: db.cut_off(services.dsn)),
        loops.loop("gauges", _gauges(services), loops.Bell(), idle_s=GAUGES_S),
        loops.loop("keys", _new_keys(services), loops.Bell(), idle_s=KEYS_S),
    )


@contextlib.asynccontextmanager
async def _during(*duties: Coroutine[None, None, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(duty) for duty in duties]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _beat(services: Services, name: str) -> Callable[[], Awaitable[bool]]:
    async def beat() -> bool:
        async with services.pool.acquire() as conn:
            services.stripe.share(await heartbeats.beat(conn, name))
        return False

    return beat


def _announce(services: Services) -> Callable[[], Awaitable[bool]]:
    async def announce() -> bool:
        """Say that there are new journal lines; rung again within the pause, it says it once more."""
        async with services.pool.acquire() as conn:
            await feed.notify(conn)
        await asyncio.sleep(ANNOUNCE_EVERY_S)
        return False

    return announce


def _gauges(services: Services) -> Callable[[], Awaitable[bool]]:
    read_s = time.monotonic()
    metrics.database_read_age(lambda: time.monotonic() - read_s)

    async def read() -> bool:
        nonlocal read_s
        async with services.pool.acquire() as conn:
            found = await gauges.read(conn)
            money = await platform.money(
                conn, services.platform_account, services.platform_financial_account, gauges.COUNTED_MAX
            )
            open_alerts = await alerts.firing(conn, services.platform_account)
            silent = await stored_subscriptions.silent(conn, subscriptions.BY_HAND)
        metrics.backlog(found.events.oldest_s, found.events.number)
        metrics.commands_backlog(found.commands.oldest_s, found.commands.number)
        metrics.parked_now("event", found.parked_events.number, found.parked_events.oldest_s)
        metrics.parked_now("command", found.parked_commands.number, found.parked_commands.oldest_s)
        metrics.heartbeat(found.heartbeat_s)
        metrics.complete_until(found.complete_until.timestamp() if found.complete_until else None)
        metrics.brakes(found.brakes)
        metrics.money(money, services.programme.platform.low_balance)
        metrics.silent_subscriptions(len(silent))
        metrics.health_alerts(
            Counter((row["data"]["alarm"], row["data"]["severity"]) for row in open_alerts),
        )
        read_s = time.monotonic()
        return False

    return read


def _new_keys(services: Services) -> Callable[[], Awaitable[bool]]:
    """A rotation anywhere is followed here within ``KEYS_S``; what it sealed meanwhile is readable at once."""

    async def read() -> bool:
        async with services.pool.acquire() as conn:
            await data_keys.load(conn, services.keys)
        return False

    return read


def process_name(role: str) -> str:
    """How this process is called among the heartbeats."""
    return f"{role}@{socket.gethostname()}:{os.getpid()}"


async def run_worker(settings: Settings, metrics_port: int | None = None) -> None:
    """One worker until SIGINT or SIGTERM. With ``metrics_port`` its own /metrics, since a server cannot see into it."""
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    warn_of_known_key(settings)
    metrics.role("worker")
    if metrics_port is not None:
        metrics.serve(settings.host, metrics_port)
    async with open_services(settings) as services, measuring(services), working(services, process_name("worker")):
        LOG.info("worker.started")
        await stop.wait()
