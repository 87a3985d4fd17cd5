"""`instructree calibrate`: how well the judge ranks, before a night is spent on what it says."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from orchestrator import places
from orchestrator.cli.say import say
from orchestrator.config import build, read_file
from workers.calibrate import Calibration, measure
from workers.doctor import check_endpoints


def calibrate_judge(config_file: Path | None, options: list[str], as_json: bool) -> None:
    """Prints the figures; a judge that cannot rank is said to be one."""
    file = read_file(config_file) if config_file else {}
    config = build("idea-mcts", [places.settings(config_file), file], options)
    environment = places.model_environment(config_file, say)
    work = check_endpoints(config.work, environment)
    found = measure(work, environment)
    if as_json:
        print(json.dumps({"seconds": found.seconds, "rankings": [asdict(ranking) for ranking in found.rankings]}))
    else:
        _print(found)
    for ranking in found.rankings:
        if not ranking.ranks:
            print(
                f"instructree: this judge cannot rank {ranking.dimension} (AUC {_figure(ranking.auc)}, chance is 0.5): "
                "use another model or prompt before spending on a run",
                file=sys.stderr,
            )


def _print(found: Calibration) -> None:
    table = Table("dimension", "items", "unscored", "AUC", "AUC of word count", "Kendall's tau", "spread", box=None)
    for r in found.rankings:
        row = (r.dimension, str(r.items), str(r.unscored), *map(_figure, (r.auc, r.words_auc, r.tau, r.spread)))
        table.add_row(*row)
    Console(highlight=False).print(table)
    print(f"{found.seconds:.1f} s")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
