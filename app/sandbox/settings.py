"""What a sandbox may be told at its start."""

from dataclasses import dataclass, field

DEFAULT_KEY = "sk_test_sandbox"
DEFAULT_VERSION = "2026-10-14.preview"


@dataclass(frozen=True)
class DestinationSettings:
    """A webhook endpoint that exists from the start. ``event_payload`` is ``thin`` or ``snapshot``."""

    url: str
    secret: str
    event_payload: str = "thin"
    api_version: str | None = None


@dataclass(frozen=True)
class SandboxSettings:
    """All knobs; every one has a default that works.

    ``api_version`` chooses the vocabulary of events (``storer`` up to 2026-06-10.preview, ``money_manager`` after).
    ``opening_usd`` is the platform's first balance in cents. ``step_delay_s`` is how long each step at Stripe takes.
    ``seed`` makes faults and ids repeatable; None: another set of ids at every start.
    ``faults`` are the probabilities of ``faults.NAMES``. ``authorization_default`` is the answer after a timeout.
    ``thin_twins`` adds a thin ``v1.*`` event beside every snapshot event.
    """

    host: str = "127.0.0.1"
    port: int = 12111
    api_key: str = DEFAULT_KEY
    api_version: str = DEFAULT_VERSION
    platform_account: str = "acct_platform_sandbox"
    platform_financial_account: str = "fa_test_platform"
    opening_usd: int = 100_000_000
    step_delay_s: float = 0.05
    seed: int | None = None
    destinations: tuple[DestinationSettings, ...] = ()
    faults: dict[str, float] = field(default_factory=dict)
    authorization_url: str | None = None
    authorization_secret: str = "whsec_sandbox"  # noqa: S105 - known to all on purpose
    authorization_timeout_s: float = 2.0
    authorization_default: bool = False
    webhook_attempts_max: int = 12
    webhook_retry_s: float = 0.1
    webhook_retry_max_s: float = 3.0
    webhook_timeout_s: float = 10.0
    webhook_concurrency_max: int = 16
    thin_twins: bool = False
