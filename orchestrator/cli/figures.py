"""Figures of a run's status as people read them on a terminal."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from orchestrator.cli.say import plain

Status = Mapping[str, Any]
Show = Callable[[Status], None]
_IDLE_S = 60.0  # less of it, such as that between two beats, is not told
_NO_MORE_THAN_STATUS = ("paused", "interrupted", "cancelled")


def name_of(status: Status) -> str:
    """The run's name without what a terminal would take for a command."""
    return plain(str(status["name"]))


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.0f} %"


def spent_rows(status: Status, each: str = "") -> tuple[tuple[str, str, str], ...]:
    """Calls, tokens and money, each beside its pace and what of its cap is spent."""
    rate, tokens = status["rate"], status["tokens_in"] + status["tokens_out"]
    return (
        ("calls", f"{status['calls']} ({status['calls_replayed']} replayed)", f"{rate['calls_per_s']:.1f}/s"),
        ("tokens", f"{tokens:,}", f"{rate['tokens_per_s']:.0f}/s"),
        ("spend", f"{usd(status['usd'])} USD", each),
        *_capped(status),
    )


def _capped(status: Status) -> list[tuple[str, str, str]]:
    """What is spent of each cap, counted as caps are: with what may have to be paid for and was not answered."""
    caps, spent = status["caps"], status["spent"]
    units = {what: "USD" if what == "usd" else what for what, cap in caps.items() if cap is not None}
    return [("cap", f"{spent[what]:,.12g} of {caps[what]:,.12g} {unit}", "") for what, unit in units.items()]


def usd(value: float | None) -> str:
    if value is None:
        return "unknown"
    if 0 < value < 0.0001:
        return "less than 0.0001"
    return "0" if value == 0 else f"{value:.4f}"


def eta(status: Status) -> str:
    """The range of the time left, in words."""
    low, high = status["eta_s"]["low"], status["eta_s"]["high"]
    return "not known yet" if low is None else f"{duration(low)} to {duration(high)}"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def lasted(status: Status) -> str:
    """How long a run has been there; where it was paused, or nobody drove it, for how long it was worked on, too."""
    elapsed, driven = status["elapsed_s"], status["driven_s"]
    return duration(elapsed) + (f", driven for {duration(driven)}" if elapsed - driven >= _IDLE_S else "")


def because(status: Status) -> list[str]:
    """Why a run does not go on, where its status alone does not say it."""
    reason = status["reason"]
    return [plain(str(reason))] if reason and reason not in _NO_MORE_THAN_STATUS else []


def waiting(status: Status) -> list[str]:
    """Why work is not being done just now."""
    found = [*because(status), *(["nothing has moved for a while"] if status["stalled"] else [])]
    if not status["waiting"] or status["status"] != "running":
        return found
    cause = str(status["waiting"]["cause"])
    return [*found, plain(f"{status['waiting']['tasks']} tasks wait: {cause.partition(': ')[2] or cause}")]


def untold(status: Status) -> list[str]:
    """What somebody should have been told, and was not."""
    failed = [notice for notice in status["notices"] if notice["state"] != "told"]
    words = {"waiting": "is being tried", "given_up": "was given up"}
    return [
        plain(
            f"telling of `{one['event']}` by {one['channel']} {words[one['state']]}: {one['error'] or 'no answer yet'}"
        )
        for one in failed
    ]


def in_vain(status: Status) -> str:
    """Calls that may have been charged for although their answers never came, or came twice."""
    count = sum(status["calls_unanswered"].values())
    return f"; {count} calls without an answer are counted as spent" if count else ""


def paid(status: Status) -> str:
    """What the run cost, as the end of a sentence."""
    return (
        f"{status['calls']} calls ({status['calls_replayed']} more replayed), "
        f"{status['tokens_in'] + status['tokens_out']:,} tokens, {usd(status['usd'])} USD, "
        f"{lasted(status)}{in_vain(status)}"
    )


def change_line(change: Mapping[str, Any]) -> str:
    """A change of a run's settings in words."""
    return f"{plain(change['what'])} {_value(change['from'])} -> {_value(change['to'])}"


def _value(value: float | None) -> str:
    return "none" if value is None else f"{value:,.15g}"


def clock(at: str) -> str:
    """A moment of the database as the reader's own clock showed it."""
    return f"{datetime.fromisoformat(at).astimezone():%Y-%m-%d %H:%M:%S}"
