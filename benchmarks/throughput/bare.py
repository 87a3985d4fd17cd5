"""The ceiling: the openai client on its aiohttp transport, one process, nothing kept. A program of its own.

    python -m benchmarks.throughput.bare BASE_URL AT_ONCE WARM_S SECONDS

Prints one JSON object: calls answered and processor seconds used in the seconds after the warm-up.
"""

import asyncio
import json
import os
import sys
import time

import httpx2
import openai

from benchmarks.throughput.processes import resident
from benchmarks.throughput.texts import question


class Count:
    """Calls answered since it was last set to nothing."""

    def __init__(self) -> None:
        self.calls = 0


async def ask_on(client: openai.AsyncOpenAI, number: int, count: Count) -> None:
    """One slot: asks, and asks again."""
    ordinal = 0
    while True:
        ordinal += 1
        await client.chat.completions.create(
            model="scripted", messages=[{"role": "user", "content": question(f"{number}-{ordinal}")}], max_tokens=512
        )
        count.calls += 1


async def measure(base_url: str, at_once: int, warm_s: float, seconds: float) -> dict[str, float]:
    limits = httpx2.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    transport = openai.DefaultAioHttpClient(limits=limits)
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0, http_client=transport) as client:
        count = Count()
        slots = [asyncio.create_task(ask_on(client, number, count)) for number in range(at_once)]
        await asyncio.sleep(warm_s)
        calls, cpu_s, begun = count.calls, time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        found = {
            "calls": count.calls - calls,
            "cpu_s": time.process_time() - cpu_s,
            "seconds": time.monotonic() - begun,
            "bytes": resident([os.getpid()]),
        }
        for slot in slots:
            slot.cancel()
        for failure in await asyncio.gather(*slots, return_exceptions=True):
            if isinstance(failure, Exception):  # a slot has died; one that was cancelled is no Exception
                raise failure
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))))
