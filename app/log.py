"""Logging: one JSON object a line (a readable form on a terminal), for our lines and for those of libraries alike.

The rule it enforces: no secret and no personal data reaches a log. Redaction is a processor that every line passes, so
no caller can forget it.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "[redacted]"

SECRET_KEYS = frozenset(
    {
        "admin_key",
        "api_key",
        "client_secret",
        "cookie",
        "key",
        "password",
        "secret",
        "secrets",
        "signature",
        "stripe-signature",
        "stripe_api_key",
        "token_value",
        "webhook_secrets",
    }
)
PERSONAL_KEYS = frozenset(
    {
        "account_holder_name",
        "account_number",
        "address",
        "contact_email",
        "contact_phone",
        "cvc",
        "display_name",
        "dob",
        "email",
        "first_name",
        "given_name",
        "iban",
        "id_number",
        "id_numbers",
        "individual",
        "ip",
        "last_name",
        "legal_name",
        "line1",
        "line2",
        "number",
        "phone",
        "phone_number",
        "postal_code",
        "routing_number",
        "surname",
        "tax_id",
        "user_terms_acceptance",
    }
)
# Inside a payload a name is a person's, and free text may tell of one; at the top of a line they are about parts of ours.
NESTED_PERSONAL_KEYS = frozenset({"name", "description", "evidence", "explanation", "metadata"})

_SECRET_TEXT = re.compile(
    r"\b(?:sk|rk|pk|ck)_[A-Za-z0-9_]{6,}|\bwhsec_[A-Za-z0-9+/=_-]+|(?<=Bearer )\S+|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
_EMAIL_TEXT = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_TEXT_DEPTH_MAX = 12
_PERSONAL_TEXT_MIN = 3
"""A shorter text (a country, a state) names nobody, and occurs by chance in any sentence."""


def redact(value: object, *, depth: int = 0) -> object:
    """Return ``value`` with secrets and personal data replaced, through mappings and sequences."""
    if isinstance(value, str):
        return _EMAIL_TEXT.sub(REDACTED, _SECRET_TEXT.sub(REDACTED, value))
    if depth > _TEXT_DEPTH_MAX:
        return REDACTED
    if isinstance(value, Mapping):
        return {key: _redact_member(key, member, depth=depth) for key, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(member, depth=depth + 1) for member in value]
    return value


def _redact_member(key: object, member: object, *, depth: int) -> object:
    name = str(key).lower()
    hidden = name in SECRET_KEYS or name in PERSONAL_KEYS or (depth > 0 and name in NESTED_PERSONAL_KEYS)
    if hidden and member is not None:
        return REDACTED
    return redact(member, depth=depth + 1)


def personal_values(value: object, *, personal: bool = False, depth: int = 0) -> frozenset[str]:
    """The texts in ``value`` that stand under a personal key, however deep."""
    if isinstance(value, str):
        return frozenset({value}) if personal and len(value) >= _PERSONAL_TEXT_MIN else frozenset()
    if depth > _TEXT_DEPTH_MAX or not isinstance(value, Mapping):
        return frozenset()
    keys = PERSONAL_KEYS | NESTED_PERSONAL_KEYS
    members = value.items()
    found = (personal_values(m, personal=personal or k in keys, depth=depth + 1) for k, m in members)
    return frozenset().union(*found)


def redact_line(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Redact one log line; a processor of structlog. Members that structlog owns (``_record``) pass untouched."""
    return {key: value if key.startswith("_") else _redact_member(key, value, depth=0) for key, value in line.items()}


def configure_logging(*, level: str = "info", form: str = "auto", stream: TextIO | None = None) -> None:
    """Send every log line, ours and the libraries', to ``stream`` (default stderr).

    ``form`` is ``json``, ``console``, or ``auto``: console on a terminal, else JSON. May be called again.
    """
    out = stream or sys.stderr
    console = form == "console" or (form == "auto" and out.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
    ]
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_finish(console=console)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    _quiet_libraries()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _finish(*, console: bool) -> list[Processor]:
    """The last processors: redaction after tracebacks became text, so that those are redacted as well."""
    tail: list[Processor] = [
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact_line,
    ]
    if console:
        return [*tail, structlog.dev.ConsoleRenderer(colors=True)]
    return [*tail, structlog.processors.EventRenamer("message"), structlog.processors.JSONRenderer(serializer=_dumps)]


def _dumps(line: EventDict, **_: object) -> str:
    return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _quiet_libraries() -> None:
    """Let libraries' lines reach our handler only, and only those that matter."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in ("uvicorn.access", "httpx", "httpcore", "stripe", "aiohttp.access", "alembic", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for the module ``name``; bind facts to it, or to the context with `structlog.contextvars`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
