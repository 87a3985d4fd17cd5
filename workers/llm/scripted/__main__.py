"""`python -m workers.llm.scripted`: prints the base URL on one line, then serves until it is told to stop."""

import asyncio
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence

from workers.llm.scripted.faults import SeededPlan
from workers.llm.scripted.server import Script, ScriptedServer


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ArgumentTypeError("a share is between 0 and 1")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ArgumentTypeError("must be above 0")
    return value


def parse(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m workers.llm.scripted", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="on loopback; 0 takes a free one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", action="append", help="a model name to offer; may be given again")
    parser.add_argument("--key", help="the API key to insist on")
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds, drawn between half and 1.5 of it")
    parser.add_argument("--rate", type=_positive, help="requests a second; above it 429 with Retry-After")
    parser.add_argument("--burst", type=_positive, default=1.0, help="requests at once within --rate")
    parser.add_argument("--fail-share", type=_share, default=0.0, help="share of requests answered 500")
    parser.add_argument("--hang-share", type=_share, default=0.0, help="share never answered")
    parser.add_argument("--malformed-share", type=_share, default=0.0, help="share answered with broken JSON")
    return parser.parse_args(arguments)


def script_of(options: Namespace) -> Script:
    plan = SeededPlan(
        seed=options.seed,
        latency_s=options.latency / 1000,
        fail_share=options.fail_share,
        hang_share=options.hang_share,
        malformed_share=options.malformed_share,
    )
    models = tuple(options.model or ["scripted"])
    return Script(
        seed=options.seed, models=models, key=options.key, rate=options.rate, burst=max(options.burst, 1.0), plan=plan
    )


async def serve(options: Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with ScriptedServer(script_of(options), port=options.port) as server:
        print(server.base_url, flush=True)
        await stop.wait()


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    try:
        asyncio.run(serve(options))
    except OSError as error:
        print(f"port {options.port} cannot be used: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
