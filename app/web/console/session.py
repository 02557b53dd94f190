"""Who sits at the console: a cookie that holds the API key, sealed with the data keys that every process of ours shares.

No table of sessions: any process opens the cookie, and asks for the key anew at each request, so a revoked key ends its
sessions within the second in which it ends everything else. Who logs out leaves a row that says so until the session
would have ended anyway; every process asks for it at each request, so a copy of the cookie is worth nothing then. Each session has a token of its own that every form must
bring back, which a page of somebody else cannot know.
"""

import base64
import binascii
import hashlib
import secrets
from datetime import UTC, datetime

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.sealing import PLAIN_FROM, UnknownDataKey, Unsealable
from app.store import data_keys, ended_sessions
from app.web.deps import reading
from app.wiring import Services

COOKIE = "cardrail_console"
PATH = "/console"
SESSION_MAX_S = 12 * 3600
"""A shift. Then the key is asked for again."""
COOKIE_CHARS_MAX = 2_000

_PLACE = ("console", "session", "", "")


class Session(msgspec.Struct, frozen=True):
    """``key`` is empty until somebody has logged in; ``token`` stands in every form; ``until`` in ms since the epoch."""

    key: str
    token: str
    until: int


class Sessions:
    """Reads and writes the cookie. ``services`` bring the keys and the clock."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def of(self, request: Request) -> Session | None:
        """The session that the request brings; None without one, or with one that is over or not ours."""
        sent = request.cookies.get(COOKIE, "")
        if not sent or len(sent) > COOKIE_CHARS_MAX:
            return None
        try:
            raw = base64.b64decode(sent, altchars=b"-_", validate=True)
            found = msgspec.json.decode(await self._open(raw), type=Session)
        except (binascii.Error, Unsealable, msgspec.DecodeError):
            return None
        if found.until <= self._services.clock():
            return None
        async with reading(self._services) as conn:
            return None if await ended_sessions.has(conn, _digest(found)) else found

    async def begin(self, request: Request, response: Response, key: str = "") -> Session:
        """A new session in the answer."""
        until = self._services.clock() + SESSION_MAX_S * 1000
        made = Session(key, secrets.token_urlsafe(24), until)
        value = base64.urlsafe_b64encode(self._services.keys.seal(msgspec.json.encode(made), *_PLACE)).decode()
        response.set_cookie(
            COOKIE, value, max_age=SESSION_MAX_S, path=PATH, secure=_https(request), httponly=True, samesite="strict"
        )
        return made

    async def end(self, session: Session, response: Response) -> None:
        """End it for every process and every copy of the cookie, and let the browser forget it."""
        async with self._services.pool.acquire() as conn, conn.transaction():
            await ended_sessions.add(conn, _digest(session), datetime.fromtimestamp(session.until / 1000, UTC))
        self.forget(response)

    @staticmethod
    def forget(response: Response) -> None:
        """Let the browser forget whatever it has."""
        response.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="strict")

    async def _open(self, raw: bytes) -> bytes:
        if not raw or raw[0] >= PLAIN_FROM:
            raise Unsealable("This was never sealed.")
        keys = self._services.keys
        try:
            return keys.open(raw, *_PLACE)
        except UnknownDataKey:
            async with reading(self._services) as conn:
                await data_keys.load(conn, keys)
            return keys.open(raw, *_PLACE)


def _digest(session: Session) -> bytes:
    """How a session is named where it is kept: of no use to whoever reads it there."""
    return hashlib.sha256(session.token.encode()).digest()


def _https(request: Request) -> bool:
    """Whether the browser speaks https, to us or to what stands before us; a false word only costs its teller a login."""
    return "https" in {request.url.scheme, request.headers.get("x-forwarded-proto", "")}
