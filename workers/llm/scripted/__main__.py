"""`python -m workers.llm.scripted`: prints the base URL on one line, then serves until it is told to stop."""

import asyncio
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence

from workers.llm.scripted.options import parse, script_of
from workers.llm.scripted.server import ScriptedServer


async def serve(options: Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with ScriptedServer(script_of(options), port=options.port, host=options.host) as server:
        print(server.base_url, flush=True)
        await stop.wait()


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    try:
        asyncio.run(serve(options))
    except OSError as error:
        print(f"{error.filename or f'port {options.port}'} cannot be used: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
