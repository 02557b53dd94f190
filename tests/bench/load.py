"""The load generator, a process of its own: raw keep-alive sockets, closed loop, or open loop at a steady rate.

`python -m tests.bench.load PORT KIND COUNT CONNECTIONS SEED PATH [RATE]` prints one JSON line: rate per second, when
it began (seconds since the epoch) and latencies in milliseconds. In the open loop latency counts from when a request was due, so a stalled server cannot hide it.
"""

import asyncio
import json
import sys
import time
from collections import deque
from typing import cast, get_args

import uvloop

from tests.bench.deliveries import Kind, requests


class Sender(asyncio.Protocol):
    """One connection: sends the next request when the last one was answered."""

    transport: asyncio.Transport

    def __init__(self, load: "Load") -> None:
        self.load = load
        self.due = 0.0
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        at = head.index(b"content-length:") + 15
        length = int(head[at:].split(b"\r\n", 1)[0])
        if len(self.buffer) < end + 4 + length:
            return
        if not self.buffer.startswith(b"HTTP/1.1 200"):
            self.load.bad += 1
            self.load.example = self.buffer
        self.buffer = b""
        self.load.answered(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost()

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self.transport.write(request)


class Load:
    """The run: what is left to send, who is idle, what was measured."""

    def __init__(self, todo: list[bytes], rate: float | None) -> None:
        self.todo = deque(todo)
        self.wanted = len(todo)
        self.rate = rate
        self.bad = 0
        self.begun = 0.0
        self.example = b""
        self.took: list[float] = []
        self.idle: deque[Sender] = deque()
        self.late: deque[float] = deque()
        self.done = asyncio.get_running_loop().create_future()

    def answered(self, sender: Sender) -> None:
        now = time.perf_counter()
        self.took.append(now - sender.due)
        if len(self.took) == self.wanted:
            self.done.set_result(None)
        elif self.rate is None:
            if self.todo:
                sender.send(self.todo.popleft(), now)
        elif self.late:
            sender.send(self.todo.popleft(), self.late.popleft())
        else:
            self.idle.append(sender)

    def lost(self) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server closed a connection"))

    async def run(self, senders: list[Sender]) -> float:
        self.begun, begun = time.time(), time.perf_counter()
        if self.rate is None:
            for sender in senders[: self.wanted]:
                sender.send(self.todo.popleft(), time.perf_counter())
        else:
            self.idle.extend(senders)
            await self._pace(self.rate, begun)
        await asyncio.wait_for(self.done, 300)
        return time.perf_counter() - begun

    async def _pace(self, rate: float, begun: float) -> None:
        for n in range(self.wanted):
            due = begun + n / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if self.idle:
                self.idle.popleft().send(self.todo.popleft(), due)
            else:
                self.late.append(due)


async def main(port: int, kind: Kind, count: int, connections: int, seed: str, path: str, rate: float | None) -> None:
    loop = asyncio.get_running_loop()
    load = Load(requests(kind, count, seed, path), rate)
    made = [await loop.create_connection(lambda: Sender(load), "127.0.0.1", port) for _ in range(connections)]
    elapsed = await load.run([sender for _, sender in made])
    took = sorted(load.took)
    at = {f"p{p}_ms": round(took[min(len(took) - 1, len(took) * p // 100)] * 1000, 3) for p in (50, 95, 99)}
    example = load.example[:300].decode(errors="replace")
    found = {"rate": round(len(took) / elapsed, 1), "begun": load.begun, "bad": load.bad, "example": example}
    print(json.dumps(found | at | {"max_ms": round(took[-1] * 1000, 3)}))
    for transport, _ in made:
        transport.abort()


if __name__ == "__main__":
    port_, kind_, count_, connections_, seed_, path_, *rate_ = sys.argv[1:]
    assert kind_ in get_args(Kind)
    uvloop.run(
        main(
            int(port_),
            cast("Kind", kind_),
            int(count_),
            int(connections_),
            seed_,
            path_,
            float(rate_[0]) if rate_ else None,
        )
    )
