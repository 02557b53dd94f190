"""Who calls: an API key, known for a moment after it was found valid, how often it asks, and what it was refused."""

import hmac
import time
from contextlib import suppress
from dataclasses import dataclass

import asyncpg

from app.errors import CardrailError
from app.store import audit, db, keys
from app.web.throttle import Throttle
from app.wiring import Services

KEY_TRUSTED_S = 0.5
"""How long a key that was found valid is not looked up again: below the second within which a revocation must work."""
KEYS_REMEMBERED_MAX = 10_000
KEY_READ_MAX_S = 8.0
REFUSED_EVERY_S = 60.0
"""How often the audit hears of the same refusal of the same key: whoever goes on trying must not fill it."""
REFUSALS_REMEMBERED_MAX = 10_000


@dataclass(frozen=True)
class Principal:
    """Who is calling: an API key by its id and name, with its scope."""

    id: str
    name: str
    scope: str

    def may(self, scope: str) -> bool:
        return keys.SCOPES.index(self.scope) >= keys.SCOPES.index(scope)


class Doorkeeper:
    """Knows who calls, and how often; remembers valid keys for a moment."""

    def __init__(self, rate_limit_per_s: int) -> None:
        self._known: dict[bytes, tuple[float, Principal]] = {}
        self._refused: dict[tuple[str, str, str, str], float] = {}
        self.throttle = Throttle(rate_limit_per_s)

    async def who(self, services: Services, key: str) -> Principal | None:
        admin = services.settings.admin_key
        if admin is not None and hmac.compare_digest(admin.encode(), key.encode()):
            return Principal("key_bootstrap", "bootstrap", "admin")
        seal = keys.digest(key)
        known = self._known.get(seal)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        self._known.pop(seal, None)
        async with db.borrow(services.api_pool, within_s=KEY_READ_MAX_S) as conn:
            row = await keys.find(conn, key)
            if row is None:
                return None
            with suppress(asyncpg.ReadOnlySQLTransactionError, asyncpg.InsufficientResourcesError):
                await keys.touch(conn, row["id"])  # a database that takes no writes can still be asked
        if len(self._known) > KEYS_REMEMBERED_MAX:
            self._known.clear()
        principal = Principal(row["id"], row["name"], row["scope"])
        self._known[seal] = (time.monotonic() + KEY_TRUSTED_S, principal)
        return principal

    async def refused(
        self,
        services: Services,
        who: Principal,
        action: str,
        target: str,
        error: CardrailError,
        reason: str | None = None,
    ) -> None:
        """Keep in the audit that this caller tried something and was refused; the same again not within a minute."""
        tried, now = (who.id, action, target, error.code), time.monotonic()
        if self._refused.get(tried, 0.0) > now:
            return
        if len(self._refused) > REFUSALS_REMEMBERED_MAX:
            self._refused.clear()
        self._refused[tried] = now + REFUSED_EVERY_S
        result = {"error": error.code, "key": who.id}
        async with db.borrow(services.pool, within_s=KEY_READ_MAX_S) as conn:
            await audit.note(conn, who=who.name, action=action, target=target, reason=reason, result=result)
