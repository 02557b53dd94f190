"""Who sits at the console: a cookie that holds the API key, sealed with the data keys that every process of ours shares.

No table of sessions: any process opens the cookie, and asks for the key anew at each request, so a revoked key ends its
sessions within the second in which it ends everything else. Each session has a token of its own that every form must
bring back, which a page of somebody else cannot know.
"""

import base64
import binascii
import secrets

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.sealing import PLAIN_FROM, Keys, UnknownDataKey, Unsealable
from app.store import data_keys, sealed
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
        self._keys: Keys | None = None

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
        return found if found.until > self._services.clock() else None

    async def begin(self, request: Request, response: Response, key: str = "") -> Session:
        """A new session in the answer."""
        until = self._services.clock() + SESSION_MAX_S * 1000
        made = Session(key, secrets.token_urlsafe(24), until)
        keys = await self._known()
        value = base64.urlsafe_b64encode(keys.seal(msgspec.json.encode(made), *_PLACE)).decode()
        response.set_cookie(
            COOKIE, value, max_age=SESSION_MAX_S, path=PATH, secure=_https(request), httponly=True, samesite="strict"
        )
        return made

    @staticmethod
    def end(response: Response) -> None:
        """Let the browser forget it."""
        response.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="strict")

    async def _open(self, raw: bytes) -> bytes:
        if not raw or raw[0] >= PLAIN_FROM:
            raise Unsealable("This was never sealed.")
        keys = await self._known()
        try:
            return keys.open(raw, *_PLACE)
        except UnknownDataKey:
            async with reading(self._services) as conn:
                await data_keys.load(conn, keys)
            return keys.open(raw, *_PLACE)

    async def _known(self) -> Keys:
        if self._keys is None:
            async with reading(self._services) as conn:
                self._keys = sealed.keys_of(conn)
        return self._keys


def _https(request: Request) -> bool:
    """Whether the browser speaks https, to us or to what stands before us; a false word only costs its teller a login."""
    return "https" in {request.url.scheme, request.headers.get("x-forwarded-proto", "")}
