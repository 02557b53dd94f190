"""Server-sent events of journal lines, resumable by ``Last-Event-ID``.

One account's lines are counted without gaps, so its stream is exact: id ``acct:seq``. Lines of all accounts commit in no
order that time could tell, so that stream reads an overlap of the last second again and drops what it sent; after a
reconnect a line of that overlap may come twice, none is missed: id ``microseconds:acct:seq``.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from app.errors import BadInput
from app.store import views
from app.web import shown
from app.web.api.accounts import AccountPath, must_know
from app.web.deps import Reader, Svc, reading
from app.web.problems import documented
from app.wiring import Services

router = APIRouter(tags=["streams"])

LOOK_EVERY_S = 0.25
PING_EVERY_S = 15
LINES_MAX = 500
OVERLAP = timedelta(seconds=1)
LATEST_US = 7 * 10**15
"""Some time in 2191: no line is younger."""

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
    services: Svc, _who: Reader, account_id: AccountPath, last_event_id: LastEventId = None
) -> Response:
    """Journal lines of one account as they are written; without `Last-Event-ID` from the first one on."""
    async with reading(services) as conn:
        await must_know(conn, account_id)
    seq = 0 if last_event_id is None else _seq(last_event_id, account_id)
    return EventSourceResponse(_account_lines(services, account_id, seq), ping=PING_EVERY_S)


@router.get("/stream", **Streamed)
async def stream_all(services: Svc, _who: Reader, last_event_id: LastEventId = None) -> Response:
    """Journal lines of all accounts as they are written; without `Last-Event-ID` from now on."""
    if last_event_id is None:
        return EventSourceResponse(_all_lines(services, datetime.now(UTC), set()), ping=PING_EVERY_S)
    since, line = _place(last_event_id)
    return EventSourceResponse(_all_lines(services, since, {line}), ping=PING_EVERY_S)


def _seq(given: str, account_id: str) -> int:
    account, _, seq = given.rpartition(":")
    if account != account_id or not _COUNT.fullmatch(seq):
        raise BadInput("Last-Event-ID is none of this stream's.", code="bad_last_event_id")
    return int(seq)


def _place(given: str) -> tuple[datetime, tuple[str, int]]:
    """When the line was written, and which one it was."""
    micros, _, rest = given.partition(":")
    account, _, seq = rest.rpartition(":")
    if not _COUNT.fullmatch(micros) or not _COUNT.fullmatch(seq) or int(micros) > LATEST_US:
        raise BadInput("Last-Event-ID is none of this stream's.", code="bad_last_event_id")
    return datetime.fromtimestamp(int(micros) / 1_000_000, UTC), (account, int(seq))


async def _account_lines(services: Services, account_id: str, seq: int) -> AsyncIterator[ServerSentEvent]:
    while True:
        async with reading(services) as conn:
            rows = await views.journal(conn, account_id, limit=LINES_MAX, after=[seq])
        for row in rows:
            seq = row["seq"]
            yield _event(row, f"{account_id}:{seq}")
        if len(rows) < LINES_MAX:
            await asyncio.sleep(LOOK_EVERY_S)


async def _all_lines(services: Services, since: datetime, sent: set[tuple[str, int]]) -> AsyncIterator[ServerSentEvent]:
    newest, first = since, since
    recent = dict.fromkeys(sent, since)
    while True:
        start = max(newest - OVERLAP, first - OVERLAP)
        async with reading(services) as conn:
            rows = await views.journal_since(conn, start, limit=LINES_MAX + len(recent))
        fresh = [row for row in rows if (row["account_id"], row["seq"]) not in recent]
        for row in fresh:
            newest = max(newest, row["at"])
            recent[row["account_id"], row["seq"]] = row["at"]
            micros = round(row["at"].timestamp() * 1_000_000)
            yield _event(row, f"{micros}:{row['account_id']}:{row['seq']}")
        recent = {key: at for key, at in recent.items() if at >= newest - 2 * OVERLAP}
        if len(fresh) < LINES_MAX:
            await asyncio.sleep(LOOK_EVERY_S)


def _event(row: views.Row, name: str) -> ServerSentEvent:
    line = orjson.dumps(shown.journal_line(row), option=orjson.OPT_UTC_Z).decode()
    return ServerSentEvent(line, event="journal", id=name)
