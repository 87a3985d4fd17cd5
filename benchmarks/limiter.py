"""The shared limiter against a real token bucket: how much is answered 429, and how long it takes.

An endpoint admits so many requests a second; four worker processes, each with a gateway and a limiter of its own on one
Valkey, make a hundred distinct calls each, 32 at a time, all at once. Ideal is calls / rate. Once the limit is
configured, once nobody knows it. Prints a table, then lines `gate NAME VALUE LIMIT ok|short`; exit 1 if one is short.

A burst of 1 is a bucket that refuses whatever comes a millisecond early: hard on any limiter, and on a busy machine.

    python benchmarks/limiter.py [--rate 20] [--bursts 1,2,5] [--longest-wait 30]

The Valkey is INSTRUCTREE_REDIS_URL's, or one of its own that ends with the benchmark.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from db.environment import REDIS
from orchestrator import stack
from workers.config import Endpoint, Role, Style, WorkSettings
from workers.llm.address import Address
from workers.llm.call import Call, call_for
from workers.llm.client import OpenAIClient
from workers.llm.errors import RetryLater
from workers.llm.gateway import Gateway
from workers.llm.ledger import MemoryLedger
from workers.llm.limits import RedisLimiter, Take
from workers.prompting import Prompt

MOST_REJECTED = {"configured": 0.05, "unknown": 0.10}
MOST_TIME = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One measurement. `seconds` from the first call's beginning to the last one's end."""

    limit: str
    burst: float
    seconds: float
    rejected: int
    sent: int
    bounced: int
    first_done_s: float
    cpu_s: float

    @property
    def share(self) -> float:
        return self.rejected / self.sent


def parse() -> Namespace:
    parser = ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--bursts", default="1,2,5", help="what the endpoint lets through at once")
    parser.add_argument("--latency", type=float, default=100.0, help="milliseconds")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--calls", type=int, default=100, help="of each process")
    parser.add_argument("--at-once", type=int, default=32, help="of each process")
    parser.add_argument("--longest-wait", type=float, default=30.0, help="seconds that a call waits in its slot")
    parser.add_argument("--no-retry-after", action="store_true")
    parser.add_argument("--only", choices=("configured", "unknown"))
    parser.add_argument("--worker", help=SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = parse()
    if options.worker:
        asyncio.run(work(json.loads(options.worker)))
        return 0
    with valkey():
        print(f"takes_per_s {asyncio.run(takes_per_s()):.0f} (one process, 64 at a time, nothing asked)", flush=True)
        rounds = [
            measure(options, limit, float(burst))
            for limit in ("configured", "unknown")
            if options.only in (None, limit)
            for burst in options.bursts.split(",")
        ]
    return report(rounds, ideal_s=options.processes * options.calls / options.rate)


@contextmanager
def valkey() -> Iterator[None]:
    """Leaves the address of a Valkey in the environment."""
    if os.environ.get(REDIS):
        yield
        return
    home = tempfile.mkdtemp(prefix="instructree-bench-")
    os.environ |= {"INSTRUCTREE_HOME": f"{home}/home", "INSTRUCTREE_SYSTEM_DIR": f"{home}/system"}
    found = stack.ensure_services(stack.Needs(postgres=False, models=()))
    assert found.redis_url
    os.environ[REDIS] = found.redis_url
    try:
        yield
    finally:
        stack.down()
        shutil.rmtree(home)


def measure(options: Namespace, limit: str, burst: float) -> Round:
    arguments = ["--rate", str(options.rate), "--burst", str(burst), "--latency", str(options.latency)]
    arguments += ["--no-retry-after"] if options.no_retry_after else []
    with program("-m", "workers.llm.scripted", *arguments) as server:
        base_url = line_of(server)
        order = {
            "base_url": base_url,
            "calls": options.calls,
            "at_once": options.at_once,
            "longest_wait_s": options.longest_wait,
            "requests_per_minute": options.rate * 60 if limit == "configured" else None,
        }
        told = work_all(options.processes, order)
        with urllib.request.urlopen(base_url.removesuffix("/v1") + "/stats") as answer:
            statuses: dict[str, int] = json.load(answer)["statuses"]
    assert statuses["200"] == options.processes * options.calls, statuses
    begun, rejected = min(one["begun"] for one in told), statuses.get("429", 0)
    return Round(
        limit=limit,
        burst=burst,
        seconds=max(one["ended"] for one in told) - begun,
        rejected=rejected,
        sent=rejected + statuses["200"],
        bounced=sum(one["bounced"] for one in told),
        first_done_s=min(one["ended"] for one in told) - begun,
        cpu_s=sum(one["cpu_s"] for one in told),
    )


def work_all(processes: int, order: dict[str, Any]) -> list[dict[str, Any]]:
    """Starts them, waits until all are ready, lets them go together, and collects what they tell."""
    workers = []
    for number in range(processes):
        arguments = (__file__, "--worker", json.dumps({**order, "number": number}))
        workers.append(
            subprocess.Popen(
                [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
            )
        )
    for worker in workers:
        assert line_of(worker) == "ready"
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return [json.loads(worker.communicate()[0]) for worker in workers]


@contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        assert process.stdout
        process.stdout.close()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


async def work(order: dict[str, Any]) -> None:
    book = {"default": Address(base_url=order["base_url"])}
    limiter = RedisLimiter(os.environ[REDIS], book, longest_wait_s=order["longest_wait_s"])
    gateway = Gateway(OpenAIClient(book), MemoryLedger(), limiter=limiter)
    traits = Endpoint(model="scripted", requests_per_minute=order["requests_per_minute"], timeout_s=60)
    settings = WorkSettings(endpoints={"default": traits})
    calls = [
        call_for(settings, Role.EVOLVER, Prompt(text=f"Describe place {order['number']}-{i}.", style=Style.CHAT))
        for i in range(order["calls"])
    ]
    print("ready", flush=True)
    sys.stdin.readline()
    slots, begun, cpu = asyncio.Semaphore(order["at_once"]), time.monotonic(), time.process_time()
    bounced = await asyncio.gather(*(until_answered(gateway, call, slots) for call in calls))
    ended, cpu_s = time.monotonic(), time.process_time() - cpu
    await gateway.close()
    await limiter.close()
    print(json.dumps({"begun": begun, "ended": ended, "bounced": sum(bounced), "cpu_s": cpu_s}), flush=True)


async def until_answered(gateway: Gateway, call: Call, slots: asyncio.Semaphore) -> int:
    """How often the call went back to the queue, which here is a nap without a slot."""
    bounced = 0
    while True:
        async with slots:
            try:
                await gateway.call(call)
                return bounced
            except RetryLater as error:
                nap_s = error.retry_after_s or 1.0
        bounced += 1
        await asyncio.sleep(nap_s)


async def takes_per_s(seconds: float = 3.0) -> float:
    """How many takes one process can have, when nothing holds them back."""
    limiter = RedisLimiter(os.environ[REDIS], {"free": Address(base_url=f"http://{uuid.uuid4().hex}/v1")})
    until, taken = time.monotonic() + seconds, 0

    async def take_on() -> None:
        nonlocal taken
        while time.monotonic() < until:
            take = Take(
                id=uuid.uuid4().hex, endpoint="free", tokens=1000, concurrency=64, requests_per_minute=10_000_000
            )
            await limiter.acquire(take)
            await limiter.settle(take, tokens=500)
            await limiter.release(take, None)
            taken += 1

    await asyncio.gather(*(take_on() for _ in range(64)))
    await limiter.close()
    return taken / seconds


def report(rounds: list[Round], *, ideal_s: float) -> int:
    print("\nlimit       burst   sent    429   share   seconds  x ideal  bounced  first process done  cpu")
    for one in rounds:
        print(
            f"{one.limit:<10} {one.burst:>6g} {one.sent:>6} {one.rejected:>6} {one.share:>7.1%} {one.seconds:>9.2f}"
            f" {one.seconds / ideal_s:>8.3f} {one.bounced:>8} {one.first_done_s:>17.1f} s {one.cpu_s:>5.2f} s"
        )
    print()
    gates = []
    for one in rounds:
        name = f"{one.limit}_burst_{one.burst:g}"
        gates.append((f"{name}_rejected", one.share, MOST_REJECTED[one.limit]))
        gates.append((f"{name}_time", one.seconds / ideal_s, MOST_TIME))
    for name, value, most in gates:
        print(f"gate {name} {value:.3f} {most} {'ok' if value <= most else 'short'}")
    return 0 if all(value <= most for _, value, most in gates) else 1


if __name__ == "__main__":
    sys.exit(main())
