"""Whether an endpoint of a run is down: waiting tasks complain of it, and for a good while it has answered nobody.

A run with several endpoints may move while one of them is away, and so never stall. What is remembered is in the run's
row, and the ledger is asked only where an announcement is due.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

import structlog
from sqlalchemy import Connection

from db import notices
from db import outages as rows
from db.records import Outage, Run

log = structlog.get_logger()

# What tasks were given back with (`workers.llm.errors`) when an endpoint let them down: those first that say most. A
# limit that is reached is none of these.
KINDS = (
    *("ServerFault", "ConnectionFailed", "TimedOut", "BrokenOff", "Unreadable"),
    *("EndpointAway", "RetriesSpent"),
)

Outages = Mapping[str, Outage]
Patience = Mapping[str, float]


def patience_s(stall_s: float, timeout_s: float = 0) -> float:
    """How long an endpoint may answer nobody, in seconds: long before the whole run would have stalled by it, but not
    before one call that timed out and another could have been answered.
    """
    return max(stall_s / 3, 2 * timeout_s)


def watch(connection: Connection, run: Run, *, stall_s: float) -> None:
    """Announces each endpoint of the run that has been down, while it was driven, for as long as `patience_s` says.
    Once until it answers.
    """
    endpoints = run.config["work"]["endpoints"]
    patience = {name: patience_s(stall_s, endpoint["timeout_s"]) for name, endpoint in endpoints.items()}
    marks = {f"{kind}: {_named(endpoint)} ": endpoint for kind in KINDS for endpoint in endpoints}
    complaints = rows.complaints(connection, run.id, marks)
    noted = missed(run.outages, complaints, now_s=run.driven_s, patience=patience)
    suspects = due(noted, complaints, now_s=run.driven_s, patience=patience)
    answered = rows.answered(connection, {name: patience[name] for name in suspects}) if suspects else {}
    judged, down = judge(noted, suspects, answered, now_s=run.driven_s)
    if judged != run.outages:
        rows.note(connection, run.id, judged)
    for endpoint in down:
        reason = _reason(endpoint, complaints[endpoint], patience[endpoint])
        notices.announce(connection, run.id, "endpoint_down", reason)
        log.warning("endpoint_down", run=run.name, endpoint=endpoint, cause=reason)


def missed(outages: Outages, complaints: Collection[str], *, now_s: float, patience: Patience) -> Outages:
    """With who is complained of now, and without who has not been for as long as there is patience with it.

    Not at once: tasks that ask an endpoint which hangs may end in vain, and the next ones have nothing to say yet.
    """
    kept = {name: outage for name, outage in outages.items() if now_s - outage.missed_s < patience[name]}
    fresh = Outage(since_s=now_s, missed_s=now_s)
    return kept | {name: replace(outages.get(name, fresh), missed_s=now_s) for name in complaints}


def due(outages: Outages, complaints: Collection[str], *, now_s: float, patience: Patience) -> list[str]:
    """Who is complained of now, and may have answered nobody for longer than patience lasts: the ledger knows."""
    return sorted(name for name in complaints if now_s - outages[name].since_s >= patience[name])


def judge(
    outages: Outages, suspects: Collection[str], answered: Mapping[str, float], *, now_s: float
) -> tuple[Outages, list[str]]:
    """What is to be remembered of those who were due, and who of them is to be announced.

    Who has answered, so many seconds ago, is counted from there again, and may be told again; who has not is asked
    about again later, since its return is seen in nothing else.
    """
    judged = dict(outages)
    for name in suspects:
        since_s, told = (now_s - answered[name], False) if name in answered else (now_s, True)
        judged[name] = replace(outages[name], since_s=since_s, told=told)
    return judged, [name for name in suspects if judged[name].told and not outages[name].told]


def _named(endpoint: str) -> str:
    """As the errors of calls name it."""
    return f"endpoint {endpoint!r}"


def _reason(endpoint: str, error: str, after_s: float) -> str:
    said = error.partition(f"{_named(endpoint)} ")[2]
    return f"{_named(endpoint)} has served no call for {notices.how_long(after_s)}; it {said}"
