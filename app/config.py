"""Settings: every environment variable the service reads, what it means, and the rules between them.

The rule it enforces: a missing or wrong setting stops the start with a sentence that names it, and live mode never
starts with an empty secret or a key that anyone could know. Nothing else in the service reads the environment.
"""

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticUndefined

from app import sealing
from app.errors import ConfigError

DEFAULT_API_VERSION = "2026-10-14.preview"
SANDBOX_KEY = "sk_test_sandbox"
SANDBOX_WEBHOOK_SECRET = "whsec_sandbox"  # noqa: S105 - known to all on purpose; live mode refuses it
SANDBOX_PLATFORM = "acct_platform_sandbox"
SANDBOX_PLATFORM_FINANCIAL_ACCOUNT = "fa_test_platform"
STRIPE_API = "https://api.stripe.com"
MASK = "********"

MONEY_MANAGER_SINCE = date(2026, 6, 24)
NEW_FINANCIAL_ADDRESS_SINCE = date(2026, 9, 16)

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def _version(value: str) -> str:
    date.fromisoformat(value[:10])
    return value


ApiVersion = Annotated[str, AfterValidator(_version)]
CommaList = Annotated[tuple[str, ...], BeforeValidator(_split)]


class Settings(BaseModel):
    """The service's settings. Build them with :func:`load_settings`; tests may use ``model_validate``.

    Units are the last part of a name: ``_s`` seconds, ``_ms`` milliseconds, ``_bytes``, ``_days``; ``_max`` is a limit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, str_strip_whitespace=True)

    # Where the data is.
    database_url: str | None = Field(
        None,
        alias="DATABASE_URL",
        pattern=r"^postgres(ql)?(\+asyncpg)?://",
        description="PostgreSQL to use, several hosts and Unix sockets allowed; absent: an embedded one is started.",
        json_schema_extra={"secret": True},
        repr=False,
    )
    data_dir: Path = Field(
        Path(".cardrail"), alias="CARDRAIL_DATA_DIR", description="Where the embedded PostgreSQL keeps its files."
    )

    encryption_keys: CommaList = Field(
        (),
        alias="CARDRAIL_ENCRYPTION_KEYS",
        description="Keys that protect personal data in the database, `id:base64(32 bytes)`, comma separated; the first"
        " wraps, all unwrap. Absent: a key that anyone knows.",
        json_schema_extra={"secret": True},
        repr=False,
    )

    # Stripe.
    stripe_api_key: str = Field(
        SANDBOX_KEY,
        alias="STRIPE_API_KEY",
        min_length=1,
        description="Secret or restricted key of the platform; absent: the local sandbox plays Stripe.",
        json_schema_extra={"secret": True},
        repr=False,
    )
    stripe_api_base: str | None = Field(
        None,
        alias="STRIPE_API_BASE",
        pattern=r"^https?://[^/\s]+",
        description="Where Stripe's API is; absent: Stripe itself, or the local sandbox without a key.",
    )
    stripe_api_version: ApiVersion = Field(
        DEFAULT_API_VERSION,
        alias="STRIPE_API_VERSION",
        pattern=r"^\d{4}-\d{2}-\d{2}(\.[a-z]+)?$",
        description="Version we speak; it decides the vocabulary (storer or money_manager) of what we send.",
    )
    webhook_secrets: CommaList = Field(
        (SANDBOX_WEBHOOK_SECRET,),
        alias="STRIPE_WEBHOOK_SECRETS",
        description="Signing secrets of the event destinations, comma separated; each of them is valid.",
        json_schema_extra={"secret": True},
        repr=False,
    )
    authorization_secrets: CommaList = Field(
        (),
        alias="STRIPE_AUTHORIZATION_SECRETS",
        description="Signing secrets of the real-time authorization webhook; absent: STRIPE_WEBHOOK_SECRETS.",
        json_schema_extra={"secret": True},
        repr=False,
    )
    platform_account_id: str | None = Field(
        None,
        alias="PLATFORM_ACCOUNT_ID",
        pattern=r"^acct_\w+$",
        description="The platform's own account; absent: read from Stripe at the start.",
    )
    platform_financial_account_id: str | None = Field(
        None,
        alias="PLATFORM_FINANCIAL_ACCOUNT_ID",
        pattern=r"^fa_\w+$",
        description="The platform's financial account that funds the others; absent: its only open one.",
    )

    # What the programme may do.
    programme_file: Path | None = Field(
        None, alias="CARDRAIL_PROGRAMME", description="TOML file with the programme; absent: the built-in programme."
    )
    livemode: bool = Field(
        False,
        alias="CARDRAIL_LIVEMODE",
        description="Real money. Events of the other mode are kept as ignored and never applied.",
    )
    admin_key: str | None = Field(
        None,
        alias="CARDRAIL_ADMIN_KEY",
        min_length=1,
        description="An API key with scope admin that is valid from the start, to make the first keys with.",
        json_schema_extra={"secret": True},
        repr=False,
    )

    # The server.
    host: str = Field("127.0.0.1", alias="CARDRAIL_HOST", description="Address to listen on.")
    port: int = Field(8000, alias="CARDRAIL_PORT", ge=0, le=65535, description="Port to listen on; 0: any free one.")
    public_url: str | None = Field(
        None,
        alias="CARDRAIL_PUBLIC_URL",
        pattern=r"^https?://[^/\s]+",
        description="How the outside reaches us (onboarding links return there); absent: host and port.",
    )
    sandbox_port: int = Field(
        12111, alias="CARDRAIL_SANDBOX_PORT", ge=0, le=65535, description="Port of the local sandbox; 0: any free one."
    )
    body_max_bytes: int = Field(
        1_048_576,
        alias="CARDRAIL_BODY_MAX_BYTES",
        ge=1024,
        description="Longest body accepted, in bytes: webhooks and API.",
    )
    rate_limit_per_s: int = Field(
        500,
        alias="CARDRAIL_RATE_LIMIT_PER_S",
        ge=0,
        le=100_000,
        description="Requests a second that one API key may make of one process, then 429; 0: no limit.",
    )
    signature_tolerance_s: int = Field(
        300,
        alias="CARDRAIL_SIGNATURE_TOLERANCE_S",
        ge=1,
        description="How far a signature's time may be from ours, past or future, in seconds.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", alias="CARDRAIL_LOG_LEVEL", description="Least level that is logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", alias="CARDRAIL_LOG_FORMAT", description="json, console, or auto: console on a terminal."
    )

    # Connections.
    pool_size: int = Field(
        10, alias="CARDRAIL_POOL_SIZE", ge=2, le=200, description="Connections for API, console, worker (5 at least)."
    )
    ingest_pool_size: int = Field(
        4, alias="CARDRAIL_INGEST_POOL_SIZE", ge=3, le=100, description="Connections that store webhooks, fixed."
    )
    authorization_pool_size: int = Field(
        4,
        alias="CARDRAIL_AUTHORIZATION_POOL_SIZE",
        ge=1,
        le=100,
        description="Connections kept for real-time authorizations alone, fixed.",
    )

    # The worker.
    poll_interval_ms: int = Field(
        500, alias="CARDRAIL_POLL_INTERVAL_MS", ge=10, description="How often an idle worker looks, unless woken."
    )
    payload_days: int = Field(
        90,
        alias="CARDRAIL_PAYLOAD_DAYS",
        ge=31,
        description="After how many days, 31 at least, the body of an event goes; Stripe itself keeps 30.",
    )
    row_days: int = Field(
        400,
        alias="CARDRAIL_ROW_DAYS",
        ge=400,
        description="After how many days, 400 at least, the row of an event goes that moved no money.",
    )
    receivers: Literal["public", "private", "any"] = Field(
        "public", alias="CARDRAIL_RECEIVERS", description="Who gets notices: public https; private too; any: http too."
    )
    authorization_deadline_ms: int = Field(
        1500,
        alias="CARDRAIL_AUTHORIZATION_DEADLINE_MS",
        ge=50,
        le=1900,
        description="When the default answers an authorization; Stripe itself cuts at 2000 ms.",
    )

    @property
    def uses_sandbox(self) -> bool:
        """Whether the local sandbox plays Stripe: neither a key of one's own nor an address is set."""
        return self.stripe_api_base is None and self.stripe_api_key == SANDBOX_KEY

    @property
    def api_base(self) -> str:
        """Where Stripe's API is for us, without a trailing slash."""
        if self.stripe_api_base is not None:
            return self.stripe_api_base.rstrip("/")
        return f"http://127.0.0.1:{self.sandbox_port}" if self.uses_sandbox else STRIPE_API

    @property
    def base_url(self) -> str:
        """How the outside reaches us, without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def valid_authorization_secrets(self) -> tuple[str, ...]:
        """The secrets that may sign a real-time authorization."""
        return self.authorization_secrets or self.webhook_secrets

    def but(self, **changes: object) -> "Settings":
        """The same settings with ``changes`` by field name, each checked again (for ``--port`` and the like)."""
        return _validate({**self.model_dump(), **changes})


def load_settings(env: Mapping[str, str]) -> Settings:
    """Read the settings from ``env`` (pass ``os.environ``). An empty variable counts as absent.

    Raises ConfigError; its sentence names each variable that is missing or wrong, and never shows a secret.
    """
    known = {field.alias for field in Settings.model_fields.values()}
    given = {name: value for name, value in env.items() if name in known and value.strip()}
    if not {"STRIPE_API_KEY", "STRIPE_API_BASE"} & given.keys():
        given.setdefault("PLATFORM_ACCOUNT_ID", SANDBOX_PLATFORM)
        given.setdefault("PLATFORM_FINANCIAL_ACCOUNT_ID", SANDBOX_PLATFORM_FINANCIAL_ACCOUNT)
    settings = _validate(given)
    problems = [*_stripe_problems(settings, given), *_live_problems(settings, given)]
    problems += _encryption_problems(settings)
    problems += [f"{name} has an empty entry." for name, secrets in _secret_lists(settings) if "" in secrets]
    if settings.programme_file is not None and not settings.programme_file.is_file():
        problems.append(f"CARDRAIL_PROGRAMME names {settings.programme_file}, which is no file.")
    if problems:
        raise ConfigError(" ".join(problems))
    return settings


def unknown_settings(env: Mapping[str, str]) -> list[str]:
    """The ``CARDRAIL_`` variables in ``env`` that mean nothing to us: most likely misspelled."""
    known = {field.alias for field in Settings.model_fields.values()}
    return sorted(name for name in env if name.startswith("CARDRAIL_") and name not in known)


def _validate(values: Mapping[str, object]) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as wrong:
        raise ConfigError(" ".join(_sentence(error) for error in wrong.errors())) from None


def _sentence(error: ErrorDetails) -> str:
    where = str(error["loc"][0])
    field = Settings.model_fields.get(where) or next(f for f in Settings.model_fields.values() if f.alias == where)
    name = field.alias
    shown = "" if _is_secret(field.json_schema_extra) else f" {error['input']!r}"
    reason = error["msg"][0].lower() + error["msg"][1:]
    return f"{name} is wrong: its value{shown} is not accepted ({reason}). {name}: {field.description}"


def _encryption_problems(settings: Settings) -> list[str]:
    try:
        sealing.parse_keys(settings.encryption_keys)
    except ValueError as error:
        return [f"{sealing.SETTING} is wrong: {error}."]
    return []


def _secret_lists(settings: Settings) -> list[tuple[str, tuple[str, ...]]]:
    return [
        ("STRIPE_WEBHOOK_SECRETS", settings.webhook_secrets),
        ("STRIPE_AUTHORIZATION_SECRETS", settings.authorization_secrets),
    ]


def _stripe_problems(settings: Settings, given: Mapping[str, str]) -> list[str]:
    """The sandbox's well-known key and secret serve only a Stripe on this machine."""
    local = settings.uses_sandbox or urlsplit(settings.api_base).hostname in LOOPBACK
    problems = []
    if not local and "STRIPE_API_KEY" not in given:
        problems.append("STRIPE_API_KEY is missing: STRIPE_API_BASE names another machine.")
    if not local and "STRIPE_WEBHOOK_SECRETS" not in given:
        problems.append("STRIPE_WEBHOOK_SECRETS is missing: without it anyone could sign events for us.")
    if not settings.livemode and re.match(r"[a-z]+_live_", settings.stripe_api_key):
        problems.append("STRIPE_API_KEY is a live key, but CARDRAIL_LIVEMODE is not true.")
    return problems


def _live_problems(settings: Settings, given: Mapping[str, str]) -> list[str]:
    if not settings.livemode:
        return []
    problems = []
    key = settings.stripe_api_key
    if "STRIPE_API_KEY" not in given:
        problems.append("STRIPE_API_KEY is missing: CARDRAIL_LIVEMODE needs a live key.")
    elif re.match(r"[a-z]+_test_", key):
        problems.append("STRIPE_API_KEY is a test key, but CARDRAIL_LIVEMODE is true.")
    if "STRIPE_WEBHOOK_SECRETS" not in given:
        problems.append("STRIPE_WEBHOOK_SECRETS is missing: CARDRAIL_LIVEMODE never starts without it.")
    problems += [
        f"{name} holds the sandbox's secret, which anyone knows; CARDRAIL_LIVEMODE never starts with it."
        for name, secrets in _secret_lists(settings)
        if name in given and SANDBOX_WEBHOOK_SECRET in secrets
    ]
    base = urlsplit(settings.api_base)
    if base.scheme != "https" and base.hostname not in LOOPBACK and "STRIPE_API_BASE" in given:
        problems.append("STRIPE_API_BASE must be https in live mode: the key would travel in clear.")
    return problems


# What the API version decides


class Vocabulary(NamedTuple):
    """The words of one API version. ``configuration``: ``storer`` or ``money_manager``."""

    configuration: Literal["storer", "money_manager"]
    old_financial_address: bool


def vocabulary(api_version: str) -> Vocabulary:
    """The words that Stripe expects from us in ``api_version`` (``YYYY-MM-DD[.preview]``).

    Stripe renamed storer in 2026-06-24.preview and changed the financial address' credentials after 2026-08-26.preview.
    """
    day = date.fromisoformat(api_version[:10])
    return Vocabulary(
        configuration="money_manager" if day >= MONEY_MANAGER_SINCE else "storer",
        old_financial_address=day < NEW_FINANCIAL_ADDRESS_SINCE,
    )


# What `cardrail config` shows


class SettingRow(NamedTuple):
    """One setting as shown to a human; ``value`` of a secret is masked."""

    name: str
    doc: str
    default: str
    value: str
    is_default: bool


def describe(settings: Settings) -> list[SettingRow]:
    """Every setting with its meaning, default and present value, in the order of the class."""
    rows = []
    for attribute, field in Settings.model_fields.items():
        value = getattr(settings, attribute)
        default = None if field.default is PydanticUndefined else field.default
        shown = MASK if _is_secret(field.json_schema_extra) and value else _show(value)
        rows.append(
            SettingRow(str(field.alias), field.description or "", _show(default), shown, is_default=value == default)
        )
    return rows


def _is_secret(extra: object) -> bool:
    return isinstance(extra, Mapping) and bool(extra.get("secret"))


def _show(value: object) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)
