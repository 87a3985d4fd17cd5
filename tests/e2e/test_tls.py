"""The proxy of the compose profile `tls`: a real nginx with the very file, what it passes on and does not hold back."""

import os
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.e2e.house import until
from tests.programs import ROOT, tool

CONF = (ROOT / "deploy" / "tls" / "nginx.conf").read_text()
PORT = 28443


class Upstream(ThreadingHTTPServer):
    """In place of the console: an event, then another one when the test has seen the first."""

    def __init__(self) -> None:
        self.seen, self.headers = Event(), dict[str, str]()
        super().__init__(("127.0.0.1", 0), _Events)


class _Events(BaseHTTPRequestHandler):
    server: Upstream

    def do_GET(self) -> None:
        self.server.headers = dict(self.headers)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        self.wfile.flush()
        self.server.seen.wait(30)
        self.wfile.write(b"data: second\n\n")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def proxy(folder: Path, port: int) -> Iterator[ssl.SSLContext]:
    """nginx with our file, but for its places: ports, temporary files and the address of the console."""
    nginx, openssl = tool("nginx"), tool("openssl")
    subject = ("-subj", "/CN=console.example.org", "-addext", "subjectAltName=DNS:console.example.org")
    files = ("-keyout", folder / "key.pem", "-out", folder / "certificate.pem")
    command: list[str | Path] = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        *subject,
        *files,
    ]
    subprocess.run(command, check=True, capture_output=True)
    moved = {
        "/tmp/": f"{folder}/",
        "/run/secrets/tls_certificate": f"{folder}/certificate.pem",
        "/run/secrets/tls_key": f"{folder}/key.pem",
        "listen 8443": f"listen 127.0.0.1:{PORT}",
        "http://console:8642": f"http://127.0.0.1:{port}",
    }
    text = CONF
    for old, new in moved.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(text)
    rights = "user root; " if os.geteuid() == 0 else ""
    with (folder / "log").open("wb") as log:
        options: list[str | Path] = ["-e", "stderr", "-c", folder / "nginx.conf", "-g", f"{rights}daemon off;"]
        server = subprocess.Popen([nginx, *options], stdout=log, stderr=log)
    context = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
    try:
        until(lambda: _answers(server, folder), "nginx listens", patience_s=30)
        yield context
    finally:
        server.terminate()
        server.wait(20)


def _answers(server: "subprocess.Popen[bytes]", folder: Path) -> bool:
    assert server.poll() is None, (folder / "log").read_text()
    try:
        ssl.get_server_certificate(("127.0.0.1", PORT), timeout=5)
    except OSError:
        return False
    return True


class _Line(HTTPSConnection):
    """To this machine, whatever the name in the certificate."""

    def connect(self) -> None:
        self.host, name = "127.0.0.1", self.host
        super(HTTPSConnection, self).connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=name)  # type: ignore[attr-defined]
        self.host = name


def test_events_come_through_as_they_are_sent_with_the_name_asked_for(upstream: Upstream, tmp_path: Path) -> None:
    with proxy(tmp_path, upstream.server_address[1]) as context:
        line = _Line("console.example.org", PORT, context=context, timeout=20)
        line.request("GET", "/runs/night/events", headers={"X-Forwarded-For": "6.6.6.6"})
        answer = line.getresponse()
        assert answer.status == 200 and "max-age" in (answer.getheader("Strict-Transport-Security") or "")
        began = time.monotonic()
        assert answer.readline() == b"data: first\n"  # while the answer is still being made
        assert time.monotonic() - began < 10 and not upstream.seen.is_set()
        upstream.seen.set()
        assert b"second" in answer.read()
        line.close()
        assert upstream.headers["Host"] == f"console.example.org:{PORT}"
        assert upstream.headers["X-Forwarded-For"] == "127.0.0.1"
        assert upstream.headers["X-Forwarded-Proto"] == "https"


def test_old_protocols_are_refused(upstream: Upstream, tmp_path: Path) -> None:
    with proxy(tmp_path, upstream.server_address[1]):
        done = subprocess.run(
            [tool("openssl"), "s_client", "-connect", f"127.0.0.1:{PORT}", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode != 0 and "alert protocol version" in done.stderr, done.stderr
