"""The one place where an exception or a status becomes one of our errors."""

import asyncio
import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import aiohttp
import httpx2
import openai

from workers.llm.errors import (
    AnswersCompressed,
    AnswerTooLarge,
    BrokenOff,
    CallRefused,
    ConnectionFailed,
    EndpointBroken,
    ModelError,
    ModelMissing,
    QuotaSpent,
    RateLimited,
    ServerFault,
    TimedOut,
    Unauthorized,
    Unreadable,
)
from workers.llm.scrub import one_line

_LONGEST_WAIT_S = 7 * 24 * 3600.0
# Who is told to come back so much later has no limit by the minute, but a quota by the day.
_A_LONG_WAIT_S = 600.0
_SPENT = ("insufficient_quota", "billing_hard_limit_reached", "insufficient_balance")
_AT_FAULT_FOR_GOOD = {501: "it cannot do this", 505: "it does not speak this HTTP"}
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIMEOUTS = (TimeoutError, asyncio.TimeoutError, httpx2.TimeoutException, openai.APITimeoutError)
_CONNECTION = (openai.APIConnectionError, httpx2.TransportError, aiohttp.ClientError, OSError)


class TooLarge(Exception):
    """The response is longer than we are willing to hold."""


class Compressed(Exception):
    """The response is compressed although that was declined: its true size cannot be known."""


def sort_error(error: BaseException, endpoint: str, *, secret: str | None = None) -> ModelError:
    """Our error for whatever ended a call to this endpoint; `secret` is masked wherever the server repeats it.

    Anything that is neither a status, a time-out nor a connection is taken for an answer that cannot be read.
    """
    who = f"endpoint {endpoint!r}"
    if isinstance(error, openai.APIStatusError):
        return _by_status(error, who, secret)
    causes = _causes(error)
    if any(isinstance(cause, Compressed) for cause in causes):
        return AnswersCompressed(f"{who} sends compressed answers although asked not to")
    if any(isinstance(cause, TooLarge) for cause in causes):
        return AnswerTooLarge(f"{who} answered with more than can be taken: {one_line(str(causes[-1]))}")
    # The library's aiohttp transport calls a refused connection a time-out (ClientConnectionError -> ConnectTimeout),
    # so what aiohttp itself raised decides first.
    if broken := next((c for c in causes if isinstance(c, aiohttp.ClientConnectionError)), None):
        timed_out = isinstance(broken, aiohttp.ServerTimeoutError | TimeoutError)
        if isinstance(broken, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return ConnectionFailed(f"{who} cannot be reached: {_told(broken)}")
        if not timed_out:
            return BrokenOff(f"{who} broke the connection off: {_told(broken)}")
    if any(isinstance(cause, _TIMEOUTS) for cause in causes):
        return TimedOut(f"{who} gave no whole answer in time")
    if any(isinstance(cause, _CONNECTION) for cause in causes):
        return BrokenOff(f"{who} broke the connection off: {_told(causes[-1])}")
    return Unreadable(f"{who} answered something unreadable: {one_line(str(error), secret=secret)}")


def _by_status(error: openai.APIStatusError, who: str, secret: str | None) -> ModelError:
    status = error.status_code
    said = one_line(_said(error), secret=secret)
    line = f"{who} answered {status}" + (f": {said}" if said else "")
    wait = retry_after_s(error.response.headers)
    if status in (401, 403):
        return Unauthorized(f"{line} (is the API key right, and may it use this model?)")
    if status == 402 or (status == 429 and (_code(error) in _SPENT or (wait or 0) >= _A_LONG_WAIT_S)):
        return QuotaSpent(f"{line} ({_when(wait)})")
    if status == 404:
        return ModelMissing(f"{line} (has it this model, and does its address end with the right path, often /v1?)")
    if status == 429:
        return RateLimited(line, retry_after_s=wait)
    if status == 408:
        return TimedOut(line)
    if status in (409, 425) or (status >= 500 and status not in _AT_FAULT_FOR_GOOD):
        return ServerFault(line, retry_after_s=wait)
    if status >= 500:
        return EndpointBroken(f"{line} ({_AT_FAULT_FOR_GOOD[status]})")
    if status < 400:
        return EndpointBroken(f"{line} (it points elsewhere: redirects are not followed, set the final address)")
    return CallRefused(line)


def _when(wait_s: float | None) -> str:
    """When a spent quota is there again."""
    if wait_s is None:
        return "nothing is left on this account"
    hours, minutes = divmod(math.ceil(wait_s / 60), 60)
    return f"the quota is spent; it is there again in {hours} h {minutes:02} min"


def _code(error: openai.APIStatusError) -> str | None:
    body = error.body
    inner = body.get("error", body) if isinstance(body, dict) else None
    code = (inner.get("code") or inner.get("type")) if isinstance(inner, dict) else None
    return code if isinstance(code, str) else None


def _said(error: openai.APIStatusError) -> str:
    """The server's own words: the message of a JSON error in any of the usual shapes, or the beginning of the text."""
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        if isinstance(inner, dict):
            inner = inner.get("message") or inner.get("detail") or ""
        return inner if isinstance(inner, str) else ""
    text = body if isinstance(body, str) else ""
    return "" if text.lstrip().startswith("<") else text  # a proxy's page tells nothing


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found and len(found) < 10:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _told(error: BaseException) -> str:
    """What the system said (connection refused, no such host), without our address in it."""
    told = getattr(error, "os_error", error)
    strerror = getattr(told, "strerror", None)
    return one_line(strerror if isinstance(strerror, str) and strerror else type(error).__name__)


def retry_after_s(headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Seconds to wait by `retry-after-ms` or `retry-after` (seconds or a date), or else by what is said of a limit that
    has nothing left (`x-ratelimit-remaining-requests: 0`, `-reset-requests: 6h3m`); None without a sensible one.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        seconds = _seconds(value, time.time() if now is None else now)
        if seconds is not None and math.isfinite(seconds) and seconds >= 0:
            return min(seconds / unit, _LONGEST_WAIT_S)
    return _reset_s(headers)


def _reset_s(headers: Mapping[str, str]) -> float | None:
    waits = [0.0]
    for what in ("requests", "tokens"):
        if headers.get(f"x-ratelimit-remaining-{what}") == "0":
            found = _SPAN.findall(headers.get(f"x-ratelimit-reset-{what}", "")[:40])
            waits.append(sum(float(number) * _UNITS_S[unit] for number, unit in found))
    return min(max(waits), _LONGEST_WAIT_S) or None


def _seconds(value: str, now: float) -> float | None:
    try:
        return float(value)
    except ValueError:
        pass
    try:
        return max(parsedate_to_datetime(value).timestamp() - now, 0.0)
    except (ValueError, TypeError, OverflowError):
        return None
