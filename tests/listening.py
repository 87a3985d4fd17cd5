"""A webhook for tests: it keeps what it is told, and answers as it is told to."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

# Part of its address, and of nothing else.
SECRET = "s3cr3t-t0k3n"


class Listener(ThreadingHTTPServer):
    """Answers with each of `codes` in turn, then 200; keeps what it was sent."""

    def __init__(self, *codes: int, delay_s: float = 0) -> None:
        self.codes, self.delay_s, self.heard = list(codes), delay_s, list[tuple[str, Any]]()
        super().__init__(("127.0.0.1", 0), _Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook/{SECRET}"


class _Answer(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append((self.path, json.loads(body)))
        time.sleep(self.server.delay_s)
        self.send_response(self.server.codes.pop(0) if self.server.codes else 200)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def listening(*codes: int, delay_s: float = 0) -> Iterator[Listener]:
    server = Listener(*codes, delay_s=delay_s)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
