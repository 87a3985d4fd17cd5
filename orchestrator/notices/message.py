"""What a notice says: one JSON object, the same for webhook and command."""

import json
import unicodedata
from collections.abc import Mapping
from typing import Any

from db.notices import Notice

# Of `instructree status N --json`, by the same names.
FIGURES = (
    *("phase", "seeds", "trees_done", "nodes", "nodes_scored", "examples", "calls", "calls_replayed"),
    *("tokens_in", "tokens_out", "usd", "elapsed_s", "driven_s"),
)
_WORDS = {
    "done": "is done",
    "stopped": "was stopped by its budget",
    "paused": "is paused and waits for you",
    "stalled": "has stalled",
    "endpoint_down": "misses an endpoint",
}
_LONGEST_REASON = 500


def body_of(notice: Notice, status: Mapping[str, Any]) -> bytes:
    """`id` stays the same when a notice is told again. `text` is a line for people."""
    reason = None if notice.reason is None else plain(notice.reason)[:_LONGEST_REASON]
    said = {
        "id": notice.id,
        "run": status["name"],
        "recipe": status["recipe"],
        "event": notice.event,
        "reason": reason,
        "at": notice.at.isoformat(),
        "text": _line(notice.event, reason, status),
        "figures": {name: status[name] for name in FIGURES},
    }
    return json.dumps(said).encode()


def _line(event: str, reason: str | None, status: Mapping[str, Any]) -> str:
    cost = "" if status["usd"] is None else f", {status['usd']:.2f} USD"
    came = f"{status['examples']} rows, {status['calls']} calls{cost}"
    because = f" ({reason})" if reason else ""
    return f"Run {plain(status['name'])[:100]} {_WORDS[event]}{because}: {came}."


def plain(text: str) -> str:
    """In one line, and without characters that steer a terminal or turn the direction of writing."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text)
