"""`instructree operators mine` and `improve`, from the sample to the file that is written."""

import sys
from collections.abc import Sequence
from pathlib import Path

from db.errors import ConfigError, InputError
from orchestrator import places
from orchestrator.cli.exits import BUDGET, DONE
from orchestrator.cli.say import print_line, say
from orchestrator.config import build, read_file
from orchestrator.operators import load_operators, names_fault, to_toml
from orchestrator.seeds import load_seeds
from workers.config import CONTAMINATION, NUSD_PER_USD, CustomOperator, Origin, Role, Style, WorkSettings
from workers.doctor import check_endpoints
from workers.operators.decide import Plan, Score, changes, luck
from workers.operators.improve import Improvement, improve
from workers.operators.mine import Mined, mine
from workers.operators.spending import Spent

_FEWEST = 6


def mine_into(
    out: Path, sample: Path, field: str | None, config_file: Path | None, options: Sequence[str], count: int, most: int
) -> int:
    """Mines `count` operators with at most `most` calls and writes them to `out`; the exit code."""
    texts = _texts(sample, field)
    _check_out(out)
    work = _work(config_file, options, "mining")
    environment = places.model_environment(config_file, say)
    work = check_endpoints(work, environment)
    say(CONTAMINATION)
    found = mine(work, environment, texts, count=count, max_calls=most)
    _tell_mined(found, count)
    if found.operators:
        _write(out, found.operators, f"Mined from {sample.name}, {len(texts)} instructions.", CONTAMINATION)
    say(_spent(found.spent))
    return BUDGET if found.cut_short else DONE


def _tell_mined(found: Mined, count: int) -> None:
    for operator in found.operators:
        print_line(f"{operator.name}: {operator.intent}")
    for reason, times in sorted(found.turned_away.items(), key=lambda item: -item[1]):
        say(f"turned away {times}: {reason}")
    if len(found.operators) < count:
        why = "--max-calls was reached" if found.cut_short else "the model proposed nothing else that is new and usable"
        say(f"{len(found.operators)} of {count} operators: {why}")


def improve_into(
    out: Path,
    name: str,
    sample: Path,
    field: str | None,
    own: Path | None,
    config_file: Path | None,
    options: Sequence[str],
    plan: Plan,
) -> int:
    """Looks for a better method for operator `name`, writes one that fails less to `out`; the exit code."""
    texts = _texts(sample, field)
    if len(texts) < _FEWEST:
        raise InputError(f"{sample}: {len(texts)} instructions; improving needs {_FEWEST} or more")
    _check_out(out)
    loaded = load_operators(own) if own else {}
    work = _work(config_file, options, "improving")
    work = work.model_copy(update={"operators": {**work.operators, **loaded}})
    _check_name(name, work)
    if (most := plan.most_calls(work)) > plan.max_calls:
        raise ConfigError(
            f"this may take {most} calls and --max-calls is {plan.max_calls}: "
            "raise it, or lower --batch, --dev or --proposals"
        )
    environment = places.model_environment(config_file, say)
    work = check_endpoints(work, environment)
    found = improve(work, environment, name, texts, plan)
    _tell_improved(name, found)
    _keep(out, name, sample, found)
    say(_spent(found.spent))
    return BUDGET if found.cut_short else DONE


def _keep(out: Path, name: str, sample: Path, found: Improvement) -> None:
    if found.kept is None or found.current is None or found.chosen is None:
        return
    remark = f"{name}, improved on {sample.name}: {_rate(found.current)} failed before, {_rate(found.chosen)} after."
    warning = (CONTAMINATION,) if found.kept.origin is Origin.MINED else ()
    _write(out, (found.kept,), remark, *warning)


def _check_name(name: str, work: WorkSettings) -> None:
    if fault := names_fault([name], work.operators):
        raise ConfigError(fault)
    if name == "brand-new":
        raise ConfigError(
            "brand-new cannot be improved: operators of a file keep their parent's topic, and it must not"
        )


def _tell_improved(name: str, found: Improvement) -> None:
    print_line(f"batch: {_rate(found.batch)} failed{_reasons(found.batch)}")
    if found.current is None:
        left = "calls ran out" if found.cut_short else "nothing failed, so there is nothing to learn from"
        print_line(f"{name} is left as it is: {left}")
        return
    print_line(f"present method: {_rate(found.current)} failed on the dev items{_reasons(found.current)}")
    for number, score in enumerate(found.candidates, 1):
        print_line(f"new method {number}: {_rate(score)} failed on the same items{_reasons(score)}")
    if found.unusable:
        print_line(f"{found.unusable} proposals were no new method")
    if found.kept is None or found.chosen is None:
        print_line(f"{name} is left as it is: no new method failed less")
        return
    mended, broken = changes(found.current, found.chosen)
    print_line(f"kept as {found.kept.name}: {found.kept.method}")
    print_line(
        f"before {_rate(found.current)}, after {_rate(found.chosen)}: {mended} items mended, {broken} newly failed"
    )
    print_line(
        f"as much by luck alone: {luck(mended, broken):.0%}, or more, for it is the best of {len(found.candidates)}"
    )


def _rate(score: Score) -> str:
    if not score.complete:
        return f"{score.failures} of {len(score.trials)} (incomplete)"
    return f"{score.failures} of {len(score.trials)} ({score.rate:.0%})"


def _reasons(score: Score) -> str:
    told = ", ".join(f"{reason} {times}" for reason, times in sorted(score.reasons.items(), key=lambda item: -item[1]))
    return f": {told}" if told else ""


# -- what both need


def _texts(sample: Path, field: str | None) -> list[str]:
    return [seed.text for seed in load_seeds(sample, field).seeds]


def _check_out(out: Path) -> None:
    """Before anything is spent: nothing is written over, and the folder is there."""
    if out.exists():
        raise ConfigError(f"{out}: is there already; choose another name for --out")
    if not out.parent.is_dir():
        raise ConfigError(f"{out.parent}: no such folder for --out")


def _work(config_file: Path | None, options: Sequence[str], what: str) -> WorkSettings:
    """What the models are asked with. Recipes play no part in it."""
    file = read_file(config_file) if config_file else {}
    work = build("idea-mcts", [places.settings(config_file), file], options).work
    if work.endpoint(Role.EVOLVER).style is not Style.CHAT:
        raise ConfigError(
            f"{what} needs an evolver that can chat, and its endpoint is of style 'completion': "
            "name another with OPENAI_BASE_URL or --config"
        )
    return work


def _write(out: Path, operators: tuple[CustomOperator, ...], *remarks: str) -> None:
    try:
        out.write_text(to_toml(operators, *remarks), encoding="utf-8")
    except OSError as error:
        sys.stdout.write(to_toml(operators, *remarks))  # it was paid for
        raise ConfigError(f"{out}: cannot be written ({error.strerror}); what it was to hold is above") from None
    say(f"wrote {out}")


def _spent(spent: Spent) -> str:
    money = "price unknown" if spent.nusd is None else f"${spent.nusd / NUSD_PER_USD:.4f}"
    return f"spent {spent.calls} calls, {spent.tokens_in:,} tokens in and {spent.tokens_out:,} out, {money}"
