"""`instructree compare`: recipes side by side on a real model, at equal spend: trees with trees, pools with pools."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text
from sqlalchemy import Engine

from db.records import Caps, Run
from orchestrator import places
from orchestrator.begin import begin, check_name, check_seeds
from orchestrator.cli.driving import begin_run, ready, refuse_unended, see_through
from orchestrator.cli.exits import BUDGET
from orchestrator.cli.options import AsJson, ConfigFile, Field, SeedsFile
from orchestrator.cli.say import plain, say
from orchestrator.compare.arms import Arm, are_pools, arms_in, arms_of, default_name
from orchestrator.compare.terms import PoolTerms, Terms
from orchestrator.config import PoolConfig, read_file
from orchestrator.export import check_folder, write_text
from orchestrator.seeds import Seeds, load_seeds
from workers.config import WorkSettings
from workers.training.student import check_student

# What is not a terminal has no width of its own.
_WIDTH = 132

Recipes = Annotated[
    str, typer.Option("--recipes", help="Two or more: a,b,b@label, of trees or of pools; a label marks other options")
]
MaxCalls = Annotated[int, typer.Option("--max-calls", help="Calls of each for evolutions and scores, or for its pool")]
Name = Annotated[
    str | None, typer.Option("--name", help="Its runs are called NAME-RECIPE[-LABEL]; known ones are continued")
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="One option, as for run; beam.search.width=8 is for beam alone, b@label.x=y for that one"
    ),
]
Top = Annotated[int, typer.Option("--top", help="So many of the best nodes of each seed's tree count; not for pools")]
Out = Annotated[Path, typer.Option("--out", help="Folder for compare.md, compare.json and compare.svg")]


def add_to(app: typer.Typer) -> None:
    app.command()(compare)


def compare(
    seeds_file: SeedsFile,
    recipes: Recipes,
    max_calls: MaxCalls,
    name: Name = None,
    config_file: ConfigFile = None,
    options: Options = None,
    field: Field = None,
    top: Top = 5,
    out: Out = Path("compare"),
    as_json: AsJson = False,
) -> None:
    """Recipes side by side: same seeds, same calls, same models, and a judge that no search saw. Ctrl-C pauses it."""
    chosen = arms_in(recipes)
    seeds = load_seeds(seeds_file, field)
    name = name or default_name(seeds_file.stem)
    check_name(name)
    check_folder(out)
    count = len(seeds.seeds)
    terms: Terms | PoolTerms = Terms(max_calls=max_calls, seeds=count, top=top)
    if are_pools(chosen):
        terms = PoolTerms(max_calls=max_calls)
    file = read_file(config_file) if config_file else {}
    wanted = arms_of(chosen, name, [places.settings(config_file), file], options or [], terms)
    _check_pools(wanted, seeds)
    found, engine, arms = _open(config_file, wanted)
    _check_students(arms, found)
    _rehearse(engine, arms, seeds)
    runs = [_grow(engine, found, arm, seeds, f"instructree compare ... --name {name}") for arm in arms]
    _conclude(engine, name, arms, runs, terms, count, out, as_json=as_json)


def _check_pools(arms: Sequence[Arm], seeds: Seeds) -> None:
    for arm in arms:
        if isinstance(arm.config, PoolConfig):
            check_seeds(arm.config, seeds)


def _check_students(arms: Sequence[Arm], found: places.Places) -> None:
    """Students that this machine is to train must be there before anything is spent on what they are to learn."""
    students = [arm.config.work.student for arm in arms if isinstance(arm.config, PoolConfig) and arm.config.train]
    for place, student in enumerate(students):
        if found.local_programs and student not in students[:place]:
            check_student(student)


def _open(config_file: Path | None, arms: Sequence[Arm]) -> tuple[places.Places, Engine, Sequence[Arm]]:
    """Everything that the runs need, and the arms with their models found."""
    own_endpoint = places.has_endpoint(config_file)
    if own_endpoint:  # looked at before anything is started for it
        arms = _ready(arms, places.model_environment(config_file, say))
    found = places.find_places(config_file, say)
    engine = places.open_places(found)
    return found, engine, arms if own_endpoint else _ready(arms, found.environment())


def _ready(arms: Sequence[Arm], environment: dict[str, str]) -> Sequence[Arm]:
    """Arms with their models found; those that ask the same of the same endpoints are looked at once."""
    asked: list[tuple[WorkSettings, WorkSettings]] = []
    done: list[Arm] = []
    for arm in arms:
        work = next((after for before, after in asked if before == arm.config.work), None)
        if work is None:
            work = ready(arm.config, environment, Caps()).work
            asked.append((arm.config.work, work))
        done.append(replace(arm, config=arm.config.model_copy(update={"work": work})))
    return done


def _rehearse(engine: Engine, arms: Sequence[Arm], seeds: Seeds) -> None:
    """Raises ConfigError when one of the names is taken by another run, before the first is begun."""
    with engine.connect() as connection:
        for arm in arms:
            begin(connection, name=arm.run, stem="", config=arm.config, seeds=seeds, caps=Caps())
        connection.rollback()


def _grow(engine: Engine, found: places.Places, arm: Arm, seeds: Seeds, again: str) -> Run:
    """One recipe's run, begun or taken up, to its end."""
    run = begin_run(engine, arm.run, "", arm.config, seeds, Caps())
    run = see_through(engine, found, run, again=again)
    refuse_unended(run, again=again)
    return run


def _conclude(
    engine: Engine,
    name: str,
    arms: Sequence[Arm],
    runs: Sequence[Run],
    terms: Terms | PoolTerms,
    seeds: int,
    out: Path,
    *,
    as_json: bool,
) -> None:
    """Writes and shows the figures, and ends with the exit code that fits."""
    # Not at the top: figures need a library that takes its time to load, and a refusal need not wait for it.
    from orchestrator.compare.pages import pages_of

    with engine.connect() as connection:
        pages = pages_of(connection, name, arms, runs, terms, seeds)
    write_text(f"{pages.json}\n", out / "compare.json")
    write_text(pages.markdown, out / "compare.md")
    write_text(pages.picture, out / "compare.svg")
    if as_json:
        print(pages.json)
    else:
        console = Console(highlight=False)
        console = console if console.is_terminal else Console(highlight=False, width=_WIDTH)
        for place, one in enumerate(pages.tables(console.width)):
            console.print(*(("",) if place else ()), one, sep="\n")
        for note in pages.notes:
            console.print("", Text(plain(note)), sep="\n")
    say(f"table, figures and picture in {out / 'compare.md'}, {out / 'compare.json'} and {out / 'compare.svg'}")
    if stopped := [run.name for run in runs if run.status == "stopped"]:
        say(f"stopped by its budget: {', '.join(stopped)}; choose another --name to compare again")
        raise typer.Exit(BUDGET)
