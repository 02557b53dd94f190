"""One write to the socket per response: head and body leave together.

uvicorn writes the head of a response as soon as it has it and the body right after: two system calls, two packets and
two wake-ups of whoever waits for the answer. Here what is written within one turn of the event loop leaves as one. Worth
a sixth of the processor time of a webhook on both ends.
"""

import asyncio
from http import HTTPStatus
from typing import Any, cast

from starlette.types import Message, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HELD_MAX_BYTES = 65_536
"""More than this is written at once: large answers gain nothing, and flow control must see them."""


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's own protocol over a transport that gathers small writes; for ``uvicorn.Config(http=...)``."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(cast("asyncio.Transport", _Gathering(transport, self.loop)))


class Prepared:
    """One answer that is given many times: status, headers (with its length) and body never change.

    On uvicorn's own ``send`` its bytes, put together once a second, leave without the checks of each header that an
    answer made anew goes through; a tenth of the server's time for a webhook. On any other ``send`` it is plain ASGI.
    """

    def __init__(self, status: HTTPStatus, content_type: bytes, body: bytes) -> None:
        headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
        self._start: Message = {"type": "http.response.start", "status": status.value, "headers": headers}
        self._end: Message = {"type": "http.response.body", "body": body}
        self._line = b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
        self._rest = b"".join(b"%b: %b\r\n" % header for header in headers) + b"\r\n" + body
        self._default: list[tuple[bytes, bytes]] | None = None
        self._whole = b""

    async def send(self, send: Send, *, alone: bool = False) -> None:
        """Answer the request that ``send`` belongs to; ``alone`` when no other answers leave in this turn of the loop."""
        cycle = getattr(send, "__self__", None)
        if not isinstance(cycle, RequestResponseCycle) or not _plain(cycle):
            await send(self._start)
            await send(self._end)
            return
        if cycle.default_headers is not self._default:  # uvicorn makes a new list each second, for the date
            self._default = cycle.default_headers
            self._whole = self._line + b"".join(b"%b: %b\r\n" % header for header in self._default) + self._rest
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        write = (
            cycle.transport.write_now if alone and isinstance(cycle.transport, _Gathering) else cycle.transport.write
        )
        write(self._whole)
        cycle.message_event.set()
        cycle.on_response()


def _plain(cycle: RequestResponseCycle) -> bool:
    """Whether nothing but writing the bytes is to be done: no log of it, no closing, nobody to wait for."""
    return (
        cycle.keep_alive
        and not cycle.access_log
        and not cycle.disconnected
        and not cycle.response_started
        and not cycle.flow.write_paused
    )


class _Gathering:
    """The transport, with writes of one turn joined. All that is not named here is the transport's."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > HELD_MAX_BYTES:
            self._flush()

    def write_now(self, data: bytes) -> None:
        """Write without waiting for the end of the turn; what waits goes first."""
        if self._held:
            self.write(data)
            self._flush()
        elif not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._size = 0
            if not self._transport.is_closing():
                self._transport.write(data)
