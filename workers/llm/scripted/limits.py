"""How much the endpoint admits: requests and tokens a second, and requests a day."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Clock = Callable[[], float]
QuotaCode = Literal["rate_limit_exceeded", "insufficient_quota"]
_WINDOW_S = 1.0


class Bucket:
    """A token bucket: `rate` a second on the long run, `burst` at once.

    What costs more than the burst is admitted by a full bucket and paid off afterwards, so the rate holds for it too.
    """

    def __init__(self, rate: float, burst: float, clock: Clock = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._held = burst
        self._seen = clock()

    def wait_s(self, cost: float = 1.0) -> float:
        """0 when that much can be taken now, else the seconds until it can."""
        now = self._clock()
        self._held = min(self._burst, self._held + (now - self._seen) * self._rate)
        self._seen = now
        return max(min(cost, self._burst) - self._held, 0.0) / self._rate

    def take(self, cost: float = 1.0) -> float:
        """0 when it was taken, else the seconds until it can be."""
        wait_s = self.wait_s(cost)
        if not wait_s:
            self._held -= cost
        return wait_s

    def give_back(self, cost: float) -> None:
        self._held = min(self._burst, self._held + cost)


class Quota:
    """So many requests in a period of `reset_s` seconds; the first request after a period begins the next."""

    def __init__(self, most: int, reset_s: float, clock: Clock = time.monotonic) -> None:
        self._most = most
        self._reset_s = reset_s
        self._clock = clock
        self._begun = -float("inf")
        self._used = 0

    def take(self) -> float:
        """0 when one was taken, else the seconds until the quota is whole again."""
        now = self._clock()
        if now - self._begun >= self._reset_s:
            self._begun, self._used = now, 0
        if self._used >= self._most:
            return self._begun + self._reset_s - now
        self._used += 1
        return 0.0


class Window:
    """What happened within the last second, and the most that ever did within one."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._times: deque[float] = deque()
        self.peak = 0

    def mark(self) -> None:
        self._times.append(self._clock())
        self.peak = max(self.peak, self.now())

    def now(self) -> int:
        since = self._clock() - _WINDOW_S
        while self._times and self._times[0] <= since:
            self._times.popleft()
        return len(self._times)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is admitted; None is no limit. `charged` says what a request costs of `tokens_rate`.

    `asked`: its question and all the room it wants, as it comes in. `used`: the room it left is given back.
    """

    rate: float | None = None
    burst: float = 1.0
    tokens_rate: float | None = None
    tokens_burst: float | None = None
    charged: Literal["asked", "used"] = "used"
    daily_quota: int | None = None
    quota_reset_s: float = 24 * 3600.0
    quota_code: QuotaCode = "rate_limit_exceeded"
    retry_after: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why a request is answered 429, and the seconds until it would not be."""

    code: str
    message: str
    wait_s: float
    headers: dict[str, str]


class Doorkeeper:
    """Holds the requests of one server to its limits."""

    def __init__(self, limits: Limits, clock: Clock = time.monotonic) -> None:
        self._limits = limits
        self._requests = Bucket(limits.rate, limits.burst, clock) if limits.rate else None
        rate = limits.tokens_rate
        self._tokens = Bucket(rate, limits.tokens_burst or rate, clock) if rate else None
        quota = limits.daily_quota
        self._quota = None if quota is None else Quota(quota, limits.quota_reset_s, clock)

    def admit(self, tokens: int) -> Rejection | None:
        """Takes what one request with so many tokens costs. A rejected one costs nothing."""
        requests_s = self._requests.wait_s() if self._requests else 0.0
        tokens_s = self._tokens.wait_s(tokens) if self._tokens else 0.0
        if wait_s := max(requests_s, tokens_s):
            return self._busy("requests" if requests_s >= tokens_s else "tokens", wait_s)
        if self._quota and (wait_s := self._quota.take()):
            return self._spent(wait_s)
        if self._requests:
            self._requests.take()
        if self._tokens:
            self._tokens.take(tokens)
        return None

    def settle(self, *, admitted: int, used: int) -> None:
        """Says what a request that was admitted with so many tokens really used."""
        if self._tokens and self._limits.charged == "used":
            self._tokens.give_back(max(admitted - used, 0))

    def _busy(self, what: str, wait_s: float) -> Rejection:
        message = f"Rate limit reached for {what}"
        headers = self._retry_after(wait_s)
        return Rejection(code="rate_limit_exceeded", message=message, wait_s=wait_s, headers=headers)

    def _spent(self, wait_s: float) -> Rejection:
        """An account without money says so and no more; a quota of the day says when it is whole again."""
        most = self._limits.daily_quota
        if self._limits.quota_code == "insufficient_quota":
            message = "You exceeded your current quota, please check your plan and billing details."
            return Rejection(code="insufficient_quota", message=message, wait_s=wait_s, headers={})
        message = (
            f"Rate limit reached on requests per day (RPD): Limit {most}, Used {most}, Requested 1."
            f" Please try again in {spoken(wait_s)}."
        )
        headers = {"x-ratelimit-limit-requests": str(most), "x-ratelimit-remaining-requests": "0"}
        headers |= {"x-ratelimit-reset-requests": spoken(wait_s), **self._retry_after(wait_s)}
        return Rejection(code="rate_limit_exceeded", message=message, wait_s=wait_s, headers=headers)

    def _retry_after(self, wait_s: float) -> dict[str, str]:
        return {"Retry-After": f"{wait_s:.3f}"} if self._limits.retry_after else {}


def spoken(seconds: float) -> str:
    """A time as OpenAI's headers write it: 1h2m3s, 6m0s, 1.5s, 120ms."""
    if seconds < 1:
        return f"{max(round(seconds * 1000), 1)}ms"
    minutes, rest = divmod(round(seconds, 2), 60)
    hours, minutes = divmod(int(minutes), 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest:.4g}s"
