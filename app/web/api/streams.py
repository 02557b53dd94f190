"""Server-sent events of journal lines, resumable by ``Last-Event-ID`` without a gap or a repeat.

One account's lines are counted without gaps: id ``acct:seq``. Lines of all accounts come in the order of
``store.feed``: id ``txid:acct:seq``.
"""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from sse_starlette import EventSourceResponse
from starlette.responses import Response

from app.errors import BadInput
from app.store import feed
from app.store.feed import Place
from app.web.api.accounts import AccountPath, must_know
from app.web.deps import Reader, Svc, reading
from app.web.problems import documented
from app.web.tail import Tail
from app.wiring import Services

router = APIRouter(tags=["streams"])

PING_EVERY_S = 15
SEND_MAX_S = 30.0
"""A client that takes nothing for this long is let go."""
NONE_OF_THIS = "Last-Event-ID is none of this stream's."

_COUNT = re.compile(r"[0-9]{1,18}")

LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", max_length=400, description="Go on after this id.", examples=["acct_1:41"]),
]
Streamed: dict[str, Any] = {
    "response_class": EventSourceResponse,
    "responses": {
        200: {"description": "`event: journal`, `data:` a JournalLine.", "content": {"text/event-stream": {}}},
        **documented(400, 401, 403, 404),
    },
}


@router.get("/accounts/{account_id}/stream", **Streamed)
async def stream_account(
    services: Svc, _who: Reader, request: Request, account_id: AccountPath, last_event_id: LastEventId = None
) -> Response:
    """Journal lines of one account as they are written; without `Last-Event-ID` from the first one on.

    A `Last-Event-ID` is one of this stream, or a line's bare `seq`.

    The stream ends when the client reads too slowly or its key is revoked; resume with `Last-Event-ID`.
    """
    async with reading(services) as conn:
        await must_know(conn, account_id)
    seq = 0 if last_event_id is None else _seq(last_event_id, account_id)
    tail: Tail = request.app.state.tail
    lines = tail.of_account(_key(request), account_id, seq)
    return EventSourceResponse(lines, ping=PING_EVERY_S, send_timeout=SEND_MAX_S)


@router.get("/stream", **Streamed)
async def stream_all(services: Svc, _who: Reader, request: Request, last_event_id: LastEventId = None) -> Response:
    """Journal lines of all accounts as they are written; without `Last-Event-ID` from now on.

    The first thing sent then is the id of that moment, without an event: with it, too, you resume without a gap. Each line comes once, also over a reconnect or a restart; lines of one account come in their order. The stream ends
    when the client reads too slowly or its key is revoked; resume with `Last-Event-ID`.
    """
    after = None if last_event_id is None else await _place(services, last_event_id)
    tail: Tail = request.app.state.tail
    lines = tail.everything(_key(request), after)
    return EventSourceResponse(lines, ping=PING_EVERY_S, send_timeout=SEND_MAX_S)


def _key(request: Request) -> str:
    """The key that was found valid: the stream ends when it no longer is."""
    return request.headers["Authorization"].partition(" ")[2].strip()


def _seq(given: str, account_id: str) -> int:
    account, _, seq = given.rpartition(":")
    if account not in (account_id, "") or not _COUNT.fullmatch(seq):
        raise BadInput(NONE_OF_THIS, code="bad_last_event_id")
    return int(seq)


async def _place(services: Services, given: str) -> Place:
    txid, _, rest = given.partition(":")
    account, _, seq = rest.rpartition(":")
    if "\x00" in account or not _COUNT.fullmatch(txid) or not _COUNT.fullmatch(seq):
        raise BadInput(NONE_OF_THIS, code="bad_last_event_id")
    async with reading(services) as conn:
        if await feed.ahead(conn, int(txid)):
            raise BadInput("Last-Event-ID is of another database: start without one.", code="bad_last_event_id")
    return Place(int(txid), account, int(seq))
