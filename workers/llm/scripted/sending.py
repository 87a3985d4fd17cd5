"""How an answer reaches the client, or does not."""

import asyncio
import socket
from dataclasses import dataclass

from aiohttp import web

from workers.llm.scripted.faults import Fault

HOST = "127.0.0.1"
_PIECES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """The body of a 200. `spoiled` says why the client can make nothing of it, None when it can."""

    content: bytes
    content_type: str = "application/json"
    spoiled: str | None = None


def gone(request: web.Request) -> bool:
    """Whether the client has closed the connection."""
    return request.transport is None or request.transport.is_closing()


def abort(request: web.Request) -> web.Response:
    """Ends the connection here and now; the response is for the library's sake and reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def send(request: web.Request, wire: Wire, fault: Fault) -> web.StreamResponse:
    """Sends it as the fault has it. Raises ConnectionError, or is cancelled, when the client goes away."""
    if fault.delivery == "dropped_paid":
        return abort(request)
    if fault.delivery == "half":
        return await _half(request, wire)
    if fault.delivery == "drip":
        return await _drip(request, wire, fault.drip_s)
    response = web.Response(body=wire.content, content_type=wire.content_type)
    await response.prepare(request)
    await response.write_eof()
    return response


async def _half(request: web.Request, wire: Wire) -> web.StreamResponse:
    response = await _begun(request, wire)
    await response.write(wire.content[: len(wire.content) // 2])
    abort(request)
    return response


async def _drip(request: web.Request, wire: Wire, seconds: float) -> web.StreamResponse:
    response = await _begun(request, wire)
    size = max(-(-len(wire.content) // _PIECES), 1)
    for place in range(0, len(wire.content), size):
        await response.write(wire.content[place : place + size])
        await asyncio.sleep(seconds / _PIECES)
    await response.write_eof()
    return response


async def _begun(request: web.Request, wire: Wire) -> web.StreamResponse:
    headers = {"Content-Length": str(len(wire.content)), "Content-Type": wire.content_type}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    return response


def bound(port: int, host: str = HOST) -> socket.socket:
    """A socket that holds the port and does not listen yet: until it does, connections are refused. Raises OSError."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, port))
    except OSError:
        held.close()
        raise
    return held
