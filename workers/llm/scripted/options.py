"""The command line of the scripted endpoint: flags in, a script out."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path

from workers.llm.address import is_loopback
from workers.llm.scripted.answers import Temper
from workers.llm.scripted.faults import SeededPlan
from workers.llm.scripted.generating import Lister
from workers.llm.scripted.limits import Limits
from workers.llm.scripted.sending import HOST
from workers.llm.scripted.server import Script
from workers.llm.scripted.weather import Bursts, Forecast, Outage, Spell

_ROUNDING = 1e-9
_SHARES = (
    *("fail", "hang", "malformed", "drop", "drop_paid", "half", "drip", "hostile"),
    *("cut", "filter", "refusal", "empty", "wrong_usage", "injection"),
)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ArgumentTypeError("a share is between 0 and 1")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ArgumentTypeError("must be above 0")
    return value


def _time(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ArgumentTypeError("must be 0 or more")
    return value


def _status(text: str) -> int:
    if not (text.isdecimal() and 400 <= int(text) <= 599):
        raise ArgumentTypeError(f"{text!r} is not a status from 400 to 599")
    return int(text)


def _statuses(text: str) -> dict[int, float]:
    """400=0.01,422=0.02"""
    pairs = [part.partition("=") for part in text.split(",")]
    return {_status(status.strip()): _share(share) for status, _, share in pairs}


def _spell(text: str) -> Spell:
    """503@10+30"""
    status, _, times = text.partition("@")
    begin, _, length = times.partition("+")
    return Spell(status=_status(status), from_s=_time(begin), for_s=_positive(length))


def parse(arguments: Sequence[str]) -> Namespace:
    """The options; one that makes no sense ends the program with status 2 and a line that says so."""
    parser = ArgumentParser(
        prog="python -m workers.llm.scripted",
        allow_abbrev=False,
        description=(
            "An OpenAI-compatible model that answers by seed, counts what is paid (GET /stats), and goes"
            " wrong as told. Shares are of all requests, 0 to 1; the faults of one request depend on the seed, its body"
            " and how often that was asked."
        ),
    )
    _add_basics(parser)
    _add_times(parser)
    _add_limits(parser)
    _add_weather(parser)
    _add_shares(parser)
    options = parser.parse_args(arguments)
    if fault := _senseless(options):
        parser.error(fault)
    return options


def _add_basics(parser: ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--host", default=HOST, help="address to listen on, loopback by default; any other needs --key")
    parser.add_argument("--seed", type=int, default=0, help="of answers and faults")
    parser.add_argument("--model", action="append", help="a model name to offer; may be given again")
    parser.add_argument("--key", help="the API key to insist on")
    parser.add_argument(
        "--journal", type=Path, metavar="FILE", help="keep the count of what was paid here, across kills and restarts"
    )
    parser.add_argument(
        "--judge",
        type=Temper,
        choices=list(Temper),
        default=Temper.HONEST,
        help="gullible: obeys what stands outside of its prompt's quotation marks; steered: gives 6 to a text that "
        "asks for it; six: to everything; prose: answers in no form",
    )
    parser.add_argument(
        "--generator",
        type=Lister,
        choices=list(Lister),
        default=Lister.HONEST,
        help="repeats: lists the same few tasks for ever",
    )


def _add_times(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("how long an answer takes (milliseconds)")
    group.add_argument("--latency", type=_time, default=0.0, help="drawn between half and 1.5 of it")
    group.add_argument("--latency-fixed", action="store_true", help="--latency exactly, for every answer")
    group.add_argument(
        "--latency-p99", type=_positive, help="lognormal: --latency is the median, this the 99th percentile"
    )
    group.add_argument("--token-time", type=_time, default=0.0, help="on top, for each token of the answer")


def _add_limits(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("limits (429)")
    group.add_argument("--rate", type=_positive, help="requests a second; above it 429 with Retry-After")
    group.add_argument("--burst", type=_positive, default=1.0, help="requests at once within --rate")
    group.add_argument("--tokens-rate", type=_positive, help="tokens a second (question and answer); above it 429")
    group.add_argument("--tokens-burst", type=_positive, help="tokens at once within it (default: those of a second)")
    group.add_argument(
        "--tokens-charged",
        choices=("used", "asked"),
        default="used",
        help="asked: max_tokens counts whole; used: what an answer left of it is given back",
    )
    group.add_argument("--no-retry-after", action="store_true", help="leave Retry-After out")
    group.add_argument(
        "--daily-quota", type=int, metavar="N", help="after N requests 429 that says when the quota resets"
    )
    group.add_argument("--quota-reset-s", type=_positive, default=24 * 3600.0, help="seconds until it admits N again")
    group.add_argument(
        "--quota-code",
        choices=("rate_limit_exceeded", "insufficient_quota"),
        default="rate_limit_exceeded",
        help="insufficient_quota: as an account without money answers, with no word of a reset",
    )


def _add_weather(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("times of trouble (seconds from the start)")
    group.add_argument(
        "--burst-every", type=_positive, metavar="S", help="in each stretch of S seconds a window of 5xx"
    )
    group.add_argument("--burst-for", type=_positive, metavar="S", help="how long that window is")
    group.add_argument("--burst-share", type=_share, default=1.0, help="the share that fails in it (default all)")
    group.add_argument(
        "--spell",
        type=_spell,
        action="append",
        default=[],
        metavar="STATUS@FROM+FOR",
        help="answer everything with this status for a while, e.g. 503@10+30; may be given again",
    )
    group.add_argument(
        "--dead-from",
        type=_time,
        action="append",
        default=[],
        metavar="S",
        help="refuse and break off all connections from here on (/stats too); may be given again",
    )
    group.add_argument("--dead-for", type=_positive, action="append", default=[], metavar="S", help="for so long")


def _add_shares(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("shares of requests")
    shares = {
        "fail": "answered 500",
        "hang": "never answered",
        "malformed": "answered with broken JSON: half the envelope, or a judge's text without its end and quotes",
        "drop": "connection broken off before the work is done: not paid",
        "drop-paid": "connection broken off after the work, before the first byte: paid",
        "half": "connection broken off in the middle of the body: paid",
        "drip": "body sent in 20 small pieces over --drip-s",
        "hostile": "envelopes that nobody should send: wrong types, pages, 20 MB, deep nesting, NUL, NaN, ...",
        "cut": "cut off at half of max_tokens; whole when asked again with more",
        "filter": "finish_reason content_filter and no text",
        "refusal": "declined, in the refusal field or in words",
        "empty": "no text",
    }
    for name, what in shares.items():
        group.add_argument(f"--{name}-share", type=_share, default=0.0, help=what)
    group.add_argument(
        "--status-share", type=_statuses, default={}, metavar="STATUS=SHARE,...", help="e.g. 400=0.01,422=0.01"
    )
    group.add_argument("--drip-s", type=_positive, default=5.0, help="seconds that a dripping body takes")
    group.add_argument(
        "--wrong-usage-share",
        type=_share,
        default=0.0,
        help="usage negative, absurd, missing, ...: on top of the above",
    )
    group.add_argument(
        "--injection-share", type=_share, default=0.0, help="texts with an injection added: on top of the above"
    )


def _senseless(options: Namespace) -> str | None:
    if not is_loopback(options.host) and not options.key:
        return "--host beyond loopback needs --key"
    if (options.burst_every is None) != (options.burst_for is None):
        return "--burst-every and --burst-for go together"
    if options.burst_every is not None and options.burst_for > options.burst_every:
        return "--burst-for is longer than --burst-every"
    if len(options.dead_from) != len(options.dead_for):
        return "each --dead-from needs its --dead-for"
    if options.latency_p99 is not None and not 0 < options.latency <= options.latency_p99:
        return "--latency-p99 needs a --latency above 0 and not above it"
    if options.daily_quota is not None and options.daily_quota < 0:
        return "--daily-quota cannot be negative"
    if _plan(options).together() > 1 + _ROUNDING:
        return "the shares of requests add up to more than 1"
    return None


def _plan(options: Namespace) -> SeededPlan:
    return SeededPlan(
        seed=options.seed,
        latency_s=options.latency / 1000,
        latency_p99_s=None if options.latency_p99 is None else options.latency_p99 / 1000,
        fixed=options.latency_fixed,
        token_s=options.token_time / 1000,
        status_shares=options.status_share,
        drip_s=options.drip_s,
        **{f"{name}_share": getattr(options, f"{name}_share") for name in _SHARES},
    )


def _limits(options: Namespace) -> Limits:
    return Limits(
        rate=options.rate,
        burst=max(options.burst, 1.0),
        tokens_rate=options.tokens_rate,
        tokens_burst=options.tokens_burst,
        charged=options.tokens_charged,
        daily_quota=options.daily_quota,
        quota_reset_s=options.quota_reset_s,
        quota_code=options.quota_code,
        retry_after=not options.no_retry_after,
    )


def _forecast(options: Namespace) -> Forecast:
    bursts = None
    if options.burst_every is not None:
        bursts = Bursts(
            every_s=options.burst_every, for_s=options.burst_for, share=options.burst_share, seed=options.seed
        )
    times = zip(options.dead_from, options.dead_for, strict=True)
    outages = tuple(Outage(from_s=begin, for_s=length) for begin, length in times)
    return Forecast(bursts=bursts, spells=tuple(options.spell), outages=outages)


def script_of(options: Namespace) -> Script:
    return Script(
        seed=options.seed,
        models=tuple(options.model or ["scripted"]),
        key=options.key,
        limits=_limits(options),
        plan=_plan(options),
        forecast=_forecast(options),
        journal=options.journal,
        temper=options.judge,
        lister=options.generator,
    )
