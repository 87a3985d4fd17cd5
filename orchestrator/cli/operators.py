"""`instructree operators`: mined from a sample of instructions, improved, or weighed by what a student says of them."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.look import AsJson, RunName
from orchestrator.cli.options import ConfigFile
from orchestrator.weighing import Signal
from workers.operators.decide import Plan, Rule

app = typer.Typer(
    name="operators", help="Mine operators from a sample, improve one, or weigh them.", no_args_is_help=True
)

Sample = Annotated[Path, typer.Argument(help="Instructions: .jsonl, .json, .csv, .txt or .parquet", metavar="SAMPLE")]
Out = Annotated[
    Path, typer.Option("--out", help="The file of operators to write (TOML); must not exist", metavar="FILE")
]
Field = Annotated[str | None, typer.Option("--field", help="Field of the sample that holds the instruction")]
Options = Annotated[list[str] | None, typer.Option("--set", help="One option, as for run")]
Own = Annotated[Path | None, typer.Option("--operators", help="A file of operators that NAME may be from")]


def add_to(parent: typer.Typer) -> None:
    parent.add_typer(app)


@app.command()
def mine(
    sample: Sample,
    out: Out,
    count: Annotated[int, typer.Option("--count", min=1, max=32, help="How many operators")] = 6,
    max_calls: Annotated[int, typer.Option("--max-calls", min=1, help="Make no more calls than this")] = 12,
    field: Field = None,
    config_file: ConfigFile = None,
    options: Options = None,
) -> None:
    """Ask the model what a sample of instructions demands, and write operators for it. Runs use them when named."""
    from orchestrator.cli.improving import mine_into

    raise typer.Exit(mine_into(out, sample, field, config_file, options or [], count, max_calls))


@app.command()
def improve(
    name: Annotated[str, typer.Argument(help="The operator", metavar="NAME")],
    sample: Sample,
    out: Out,
    proposals: Annotated[int, typer.Option("--proposals", min=1, max=16, help="New methods to try")] = 3,
    batch: Annotated[int, typer.Option("--batch", min=1, max=100, help="Instructions to collect failures on")] = 10,
    dev: Annotated[int, typer.Option("--dev", min=1, max=500, help="Instructions to measure all methods on")] = 20,
    rule: Annotated[Rule, typer.Option("--rule", help="repository: responses must not get shorter, too")] = Rule.PAPER,
    max_calls: Annotated[int, typer.Option("--max-calls", min=1, help="Make no more calls than this")] = 200,
    own: Own = None,
    field: Field = None,
    config_file: ConfigFile = None,
    options: Options = None,
) -> None:
    """Look where an operator fails and ask the model for a better method; kept only if it fails less on other items."""
    from orchestrator.cli.improving import improve_into

    plan = Plan(batch=batch, dev=dev, proposals=proposals, rule=rule, max_calls=max_calls)
    raise typer.Exit(improve_into(out, name, sample, field, own, config_file, options or [], plan))


@app.command()
def weigh(
    name: RunName,
    signal: Annotated[
        Signal, typer.Option("--signal", help="brings: what the instruction brings to its answer; loss: how hard it is")
    ] = Signal.BRINGS,
    points: Annotated[float, typer.Option("--points", help="Points of reward for one standard deviation")] = 1.0,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Measure so many examples, at random")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The priors as a configuration file; must not exist", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a run's examples with its student, and make priors of operators from that for later tree runs."""
    from orchestrator.cli.weighing import weigh_run

    weigh_run(name, signal, points, limit, out, as_json=as_json)
