"""`instructree calibrate`: how well the judge ranks, before a night is spent on what it says."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from db.errors import ConfigError
from orchestrator import places
from orchestrator.cli.say import print_line, say
from orchestrator.config import build, read_file
from workers.calibrate import Calibration, Drift, Ranking, drift, lost, measure
from workers.config import Bench
from workers.doctor import check_endpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line asks for besides the configuration."""

    as_json: bool = False
    held_out: bool = False
    repeats: int = 1
    out: Path | None = None
    against: Path | None = None


def calibrate_judge(config_file: Path | None, options: list[str], wanted: Wanted) -> bool:
    """Prints the figures; a judge that cannot rank is said to be one.

    Returns False when a dimension was ranked in the calibration it is held against and is no longer.
    """
    before = _read(wanted.against) if wanted.against else None
    file = read_file(config_file) if config_file else {}
    config = build("idea-mcts", [places.settings(config_file), file], options)
    environment = places.model_environment(config_file, say)
    bench: Bench = "held_out" if wanted.held_out else "search"
    work = check_endpoints(config.work, environment, bench=bench, say=say)
    found = measure(work, environment, judge=bench, repeats=wanted.repeats)
    if wanted.as_json:
        print(found.as_json())
    else:
        _print(found)
    if wanted.out:
        _write(wanted.out, found)
    _doubt(found)
    return before is None or _compare(before, found, quiet=wanted.as_json)


def _read(path: Path) -> Calibration:
    try:
        return Calibration.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _write(path: Path, found: Calibration) -> None:
    try:
        path.write_text(found.as_json() + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from None


def _print(found: Calibration) -> None:
    console = Console(highlight=False)
    table = Table("dimension", "items", "unscored", "AUC", "AUC of word count", "Kendall's tau", "spread", box=None)
    again = Table("dimension", "repeat noise", "shift", "position bias", "calls", "tokens", "USD", "seconds", box=None)
    for r in found.rankings:
        table.add_row(r.dimension, str(r.items), str(r.unscored), *map(_figure, (r.auc, r.words_auc, r.tau, r.spread)))
        again.add_row(r.dimension, _figure(r.noise), _figure(r.shift), _bias(r), *_cost(r))
    console.print(table)
    console.print(again)
    for changed in sorted({r.repeated for r in found.rankings if r.repeated}):
        names = " and ".join(r.dimension for r in found.rankings if r.repeated == changed)
        print_line(f"noise of {names} over {found.judgements} judgements of each item; what changed: {changed}")
    if alone := [r.dimension for r in found.rankings if r.alone]:
        print_line(f"position bias of {' and '.join(alone)}: none, each text is asked about by itself")
    for r in found.rankings:
        if lines := [f"{intercept:.2f} + {slope:.2f} score" for one in r.lines if one for intercept, slope in [one]]:
            print_line(f"{r.dimension}: nearest to the grades would be {', then '.join(lines)}")
        for reason, count in sorted(r.reasons.items()):
            print_line(f"{r.dimension}: {count} unscored, {reason}")
    print_line(f"calls, tokens, USD and seconds are for one score; {found.seconds:.1f} s in all; {_named(found)}")


def _named(found: Calibration) -> str:
    return f"{'held-out' if found.judge == 'held_out' else 'search'} judge, {found.model}"


def _bias(ranking: Ranking) -> str:
    """Points that the first place earns against the last."""
    if ranking.bias is not None:
        return f"{ranking.bias:+.2f} ± {_figure(ranking.bias_error)}"
    return "0" if ranking.alone else "-"


def _cost(ranking: Ranking) -> tuple[str, str, str, str]:
    cost, usd = ranking.cost, ranking.cost.get("usd")
    money = "-" if usd is None else f"{usd:.6f}"
    return _figure(cost.get("calls")), _figure(cost.get("tokens")), money, _figure(ranking.seconds)


def _doubt(found: Calibration) -> None:
    for ranking in found.rankings:
        if not ranking.ranks:
            say(
                f"instructree: this judge cannot rank {ranking.dimension} (AUC {_figure(ranking.auc)}, chance is 0.5): "
                "use another model or prompt before spending on a run"
            )


def _compare(before: Calibration, after: Calibration, *, quiet: bool) -> bool:
    """Prints what became of each figure; False when a judge that ranked no longer does."""
    if not quiet:
        _print_drift(drift(before, after))
        if _named(before) != _named(after):
            print_line(f"before: {_named(before)}; now: {_named(after)}")
    gone = lost(before, after)
    for dimension in gone:
        say(f"instructree: this judge ranked {dimension} before and no longer does")
    return not gone


def _print_drift(found: list[Drift]) -> None:
    table = Table("dimension", "figure", "before", "now", "± of the change", "", box=None)
    for one in found:
        figures = map(_figure, (one.before, one.after, one.error))
        table.add_row(one.dimension, one.figure, *figures, "moved" if one.moved else "")
    Console(highlight=False).print(table)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
