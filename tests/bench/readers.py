"""Readers of the API, a process of their own: `python -m tests.bench.readers gets|streams ...` prints one JSON line.

`gets PORT COUNT CONNECTIONS STATUS PATH [HEADER ...]`: the same GET over keep-alive sockets in a closed loop; every answer
must have that status. `streams PORT COUNT`: opens that many `/v1/stream`, prints `open`, and says when each had its line.
"""

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

from tests.bench.deliveries import SECRET

OPEN_AT_ONCE = 50
PATIENCE_S = 60


class Getter(asyncio.Protocol):
    """One connection: asks again when it was answered."""

    transport: asyncio.Transport

    def __init__(self, run: "Gets") -> None:
        self.run = run
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self.buffer[:end].lower().find(b"content-length:")
        length = int(self.buffer[at + 15 : end].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.buffer) >= end + 4 + length:
            answer, self.buffer = self.buffer, b""
            self.run.answered(self, answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.run.lost()


class Gets:
    """The run: how many answers are wanted, and what came."""

    def __init__(self, count: int, status: bytes, request: bytes) -> None:
        self.left = self.unsent = count
        self.status, self.request = b"HTTP/1.1 " + status, request
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def send(self, getter: Getter) -> None:
        if self.unsent:
            self.unsent -= 1
            getter.transport.write(self.request)

    def answered(self, getter: Getter, answer: bytes) -> None:
        self.left -= 1
        if not answer.startswith(self.status) and not self.done.done():
            self.done.set_exception(SystemExit(f"unexpected answer: {answer[:300]!r}"))
        elif not self.left and not self.done.done():
            self.done.set_result(None)
        self.send(getter)

    def lost(self) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server closed a connection"))


async def gets(port: int, count: int, connections: int, status: str, path: str, *headers: str) -> None:
    head = "".join(f"{line}\r\n" for line in (f"GET {path} HTTP/1.1", "Host: x", *headers))
    run, loop = Gets(count, status.encode(), f"{head}\r\n".encode()), asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Getter(run), "127.0.0.1", port) for _ in range(connections)]
    begun = time.perf_counter()
    for _, getter in made:
        run.send(getter)
    await asyncio.wait_for(run.done, PATIENCE_S * 5)
    print(json.dumps({"rate": count / (time.perf_counter() - begun)}))
    for transport, _ in made:
        transport.abort()


async def streams(port: int, count: int) -> None:
    got: list[float] = []
    gate = asyncio.Semaphore(OPEN_AT_ONCE)

    async def begin() -> asyncio.StreamReader:
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET /v1/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"a stream was refused: {head!r}")
            writers.append(writer)
            return reader

    async def listen(reader: asyncio.StreamReader) -> None:
        await reader.readuntil(b"data: ")
        got.append(time.time())

    writers: list[asyncio.StreamWriter] = []
    readers = await asyncio.gather(*(begin() for _ in range(count)))
    print("open", flush=True)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(listen(reader) for reader in readers))
    print(json.dumps({"first": min(got), "last": max(got), "lines": len(got)}), flush=True)


if __name__ == "__main__":
    what, port_, count_, *more = sys.argv[1:]
    if what == "gets":
        uvloop.run(gets(int(port_), int(count_), int(more[0]), *more[1:]))
    else:
        uvloop.run(streams(int(port_), int(count_)))
