"""Puts a server of this machine further away: `python bench/relay.py PORT UPSTREAM LATE_MS [MB_PER_SECOND]`.

Passes bytes on between clients and the server, those of the server later, and of all connections together no more a second than
was said.
"""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import machine


@contextmanager
def further(upstream: int, late_ms: float, mb_per_second: float = math.inf) -> Iterator[int]:
    """Starts a process that does so, and gives the port of its door on 127.0.0.1."""
    port = machine.free_port()
    words = (port, upstream, late_ms, mb_per_second)
    with subprocess.Popen([sys.executable, __file__, *map(str, words)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield port
        finally:
            process.kill()


async def relay(port: int, upstream: int, late_seconds: float, bytes_per_second: float) -> None:
    loop = asyncio.get_running_loop()
    free = 0.0  # from when on the server's bytes have the line for themselves

    def deliver(writer: asyncio.StreamWriter, content: bytes) -> None:
        if not writer.is_closing():
            writer.write(content)

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late: float, rate: float) -> None:
        nonlocal free
        while (content := await reader.read(65_536)) and not writer.is_closing():
            if rate < math.inf:
                free = max(free, loop.time()) + len(content) / rate
                await asyncio.sleep(free - loop.time())  # nothing is read that a client who hangs up would never have had
            loop.call_later(late, deliver, writer, content)
        loop.call_later(late, writer.close)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", upstream)
        ways = passed(reader, back, 0, math.inf), passed(there, writer, late_seconds, bytes_per_second)
        await asyncio.gather(*ways, return_exceptions=True)
        back.close()

    async with await asyncio.start_server(client, "127.0.0.1", port) as server:
        print("ready", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(relay(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000, 1e6 * float(sys.argv[4])))
