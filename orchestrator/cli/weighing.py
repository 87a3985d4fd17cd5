"""`instructree operators weigh`, from an ended run to the priors of its operators."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection

from db import examples
from db.errors import ConfigError
from db.records import Run
from orchestrator.begin import ENDED
from orchestrator.cli.say import print_line, say
from orchestrator.config import TreeConfig, present_config
from orchestrator.places import existing_engine
from orchestrator.recipes import MOST_PRIOR
from orchestrator.steering import whole_run
from orchestrator.weighing import FEWEST, Signal, Weight, priors_of, to_layer, weigh
from workers.training.evaluate import losses
from workers.training.nats import brings_of
from workers.training.settings import StudentSettings
from workers.training.student import load
from workers.training.texts import LessonText


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An accepted example, and the last operator on its path."""

    operator: str
    text: LessonText


def weigh_run(
    name: str, signal: Signal, points: float, limit: int | None, out: Path | None, *, as_json: bool = False
) -> None:
    """Measures, prints, and writes the priors to `out` where one is named.

    Raises:
        ConfigError: the run is a pool's, has not ended or has no outputs; no operator has enough examples; `points` or
            `out` cannot be used.
        MachineUnfit, StudentUnusable: as `student.load` raises them.
    """
    _check(points, out)
    with existing_engine().connect() as connection:
        run = whole_run(connection, name)
        settings = _tree_config(run).work.student
        made = _chosen(made_in(connection, run), limit)
    measured = _measured(made, settings, signal)
    weights = weigh(measured, points=points)
    priors = priors_of(weights)
    skipped = len(made) - len(measured)
    if as_json:
        head = {"name": name, "signal": signal.value, "model": settings.model, "points": points}
        rows = [one.row() for one in weights]
        print(json.dumps({**head, "examples": len(measured), "skipped": skipped, "operators": rows, "priors": priors}))
    else:
        _print(weights, signal, skipped)
    if not priors:
        raise ConfigError(
            f"no operator of run {name!r} has {FEWEST} examples that can be measured: there are no priors"
        )
    if out:
        remark = f"{signal.value} of {len(measured)} examples of run {name!r}, student {settings.model!r}"
        _write(out, to_layer(priors, f"Priors of operators: {remark}, {points} points a standard deviation."))


def _check(points: float, out: Path | None) -> None:
    """Before anything is measured, which takes its time."""
    if not 0 < points <= MOST_PRIOR:
        raise ConfigError(f"--points {points}: must be above 0 and at most {MOST_PRIOR:g}")
    if out and out.exists():
        raise ConfigError(f"{out}: is there already; choose another name for --out")
    if out and not out.parent.is_dir():
        raise ConfigError(f"{out.parent}: no such folder for --out")


def _tree_config(run: Run) -> TreeConfig:
    config = present_config(run)
    if not isinstance(config, TreeConfig):
        raise ConfigError(
            f"run {run.name!r} widened a pool ({run.recipe}), without operators: name a run that grew trees"
        )
    if run.status not in ENDED:
        raise ConfigError(f"run {run.name!r} is {run.status}: weigh its operators when it has ended")
    return config


def made_in(connection: Connection, run: Run) -> list[Made]:
    """The accepted examples of a tree run that have an output.

    Raises:
        ConfigError: there are none.
    """
    found = [
        Made(
            operator=row.operators[-1],
            text=LessonText(instruction=row.instruction, input=row.input or "", output=row.output),
        )
        for row in examples.exportable(connection, run.id)
        if row.operators and row.output
    ]
    if not found:
        raise ConfigError(f"run {run.name!r} has no example with an output: weigh one that wrote responses")
    return found


def _chosen(made: Sequence[Made], limit: int | None) -> Sequence[Made]:
    """As many as wanted, the same each time. The first ones would be those of a few seeds only."""
    return made if limit is None or limit >= len(made) else Random(0).sample(made, limit)


def _measured(made: Sequence[Made], settings: StudentSettings, signal: Signal) -> list[tuple[str, float]]:
    student = load(settings)
    texts = [one.text for one in made]
    say(f"measuring {len(texts)} examples with {settings.model}")
    values = (
        [brings_of(student, text) for text in texts]
        if signal is Signal.BRINGS
        else [None if one is None else one.loss for one in losses(student, texts)]
    )
    return [(one.operator, value) for one, value in zip(made, values, strict=True) if value is not None]


def _print(weights: Sequence[Weight], signal: Signal, skipped: int) -> None:
    table = Table("operator", "examples", f"mean {signal.value}", "95 % interval", "prior", box=None)
    for one in weights:
        prior = "none" if one.prior is None else f"{one.prior:+.4f}"
        interval = f"{one.low:+.4f} to {one.high:+.4f}"
        table.add_row(one.operator, str(one.examples), f"{one.mean:+.4f}", interval, prior)
    Console(highlight=False).print(table)
    print_line("means in nats per answer token, intervals by bootstrap over examples; priors in points of reward")
    if skipped:
        print_line(f"{skipped} examples were left out: no room for an answer, or a loss that is not finite")


def _write(out: Path, layer: str) -> None:
    try:
        out.write_text(layer, encoding="utf-8")
    except OSError as error:
        sys.stderr.write(layer)  # it took its time
        raise ConfigError(f"{out}: cannot be written ({error.strerror}); what it was to hold is above") from None
    say(f"wrote {out}")
