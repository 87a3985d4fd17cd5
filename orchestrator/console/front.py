"""What every request passes before a page sees it: the host it names, its session, where its form comes from."""

import ipaddress
import re
import socket
from collections.abc import Callable, Collection, Mapping
from urllib.parse import parse_qsl, quote

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.console.session import Door

MOST_FORM_BYTES = 65_536
_OPEN = ("/login", "/static/")
# A name or an address, perhaps with a port, and nothing that could be taken for a part of a path.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+))(?::\d{1,5})?", re.ASCII)
_HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    # Nothing is told to other sites. `no-referrer` would take the origin from our own forms, which we check.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

Refuse = Callable[[Request, int, str], Response]


class Front:
    """Wraps the application. `hosts` are names by which browsers may ask for it, besides localhost and addresses."""

    def __init__(self, app: ASGIApp, *, door: Door, hosts: Collection[str], refuse: Refuse) -> None:
        self._app = app
        self._door = door
        self._hosts = {"localhost", socket.gethostname().lower(), *(host.lower() for host in hosts)}
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        request.state.session = None
        answer = await self._answer(request) or self._app
        await answer(scope, receive, _telling(scope, send))

    async def _answer(self, request: Request) -> Response | None:
        """What is said instead of the page; None when the page may be shown."""
        if not self._is_ours(request.headers.get("host", "")):
            return PlainTextResponse("this host name is not the console's: see `instructree console --help`\n", 421)
        # What is routed by. Older Starlettes make `request.url` of the Host header as it comes, and so its path.
        path: str = request.scope["path"]
        session = request.cookies.get(self._door.cookie)
        if self._door.knows(session):
            request.state.session = session
            request.state.stamp = self._door.stamp(session or "")
        elif not path.startswith(_OPEN):
            return _ask_in(request, path)
        if "\0" in path:
            return self._refuse(request, 404, "there is no such page")
        return await self._read_form(request) if request.method == "POST" else None

    def _is_ours(self, host: str) -> bool:
        """A page elsewhere can point a name of its own at this machine, but it cannot point an address there."""
        named = _HOST.fullmatch(host)
        if named is None:
            return False
        name = named[1] or named[2].lower()
        return name in self._hosts or _is_address(name)

    async def _read_form(self, request: Request) -> Response | None:
        """Reads the form into `request.state.form`, or refuses it."""
        if not _same_origin(request.headers):
            return self._refuse(request, 403, "this form comes from another site: open the console's own page")
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_FORM_BYTES:
                return self._refuse(request, 413, "this form is too long")
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        form = {name: value.replace("\0", "") for name, value in pairs}  # no database takes it
        request.state.form = form
        session = request.state.session
        if session is not None and not self._door.knows_stamp(session, form.get("stamp", "")):
            return self._refuse(request, 403, "this form is not of this session: load its page again")
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _ask_in(request: Request, path: str) -> Response:
    wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if not wants_page:
        return PlainTextResponse("log in first\n", 401)
    wanted = quote(path) + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(wanted, safe='/')}" if wanted != "/" else "/login", 303)


def _same_origin(headers: Mapping[str, str]) -> bool:
    """A browser says where a form comes from; whoever says nothing is no browser, and needs the form's stamp anyway."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    return origin.partition("://")[2] == headers.get("host")


def _telling(scope: Scope, send: Send) -> Send:
    """Sends with the headers that every answer has."""

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            if not scope["path"].startswith("/static/"):
                headers["Cache-Control"] = "no-store"
        await send(message)

    return tell
