"""Does noise win? A student learns from batches of which a third have their outputs shuffled among the instructions.

Every batch's norm before clipping is recorded, and what its instructions bring to their answers. Feedback takes the
batch with the largest signal of a window; a signal is sound where a wrong batch is that one no more often than there
are wrong batches (tops <= share). AUC is the chance that a wrong batch has a larger signal than a right one; one that
has none is below all.

Prints a table, then `gate wrong-labels-corrected TOPS SHARE ok|short`; exit 1 if it is short.
Needs the extra `train`. The data are pairs of instruction and output: JSONL, Self-Instruct's seeds too.

    python benchmarks/wrong_labels.py --data FILE [--batches 24] [--size 6] [--seeds 0] [--log FILE] [--read FILE,...]
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from pydantic import BaseModel

from orchestrator.generation.signal import BatchSignal, Term, brought, corrected, plain
from orchestrator.seeds import load_answered
from workers.contracts import Batch, Step
from workers.training.settings import LOCAL_STUDENT, StudentSettings
from workers.training.steps import begin, take_step
from workers.training.texts import LessonText

WINDOW = 10
DRAWS = 20_000
GATED = "corrected"
Signals = Callable[[Sequence[BatchSignal]], Sequence[float | None]]


def less(*terms: Term) -> Signals:
    """What is left of the norm, with nothing said of wrong answers."""
    return lambda batches: corrected([replace(one, brings=None) for one in batches], terms)


SIGNALS: Mapping[str, Signals] = {
    "norm": plain,
    "loss": lambda batches: [one.loss for one in batches],
    "less length, step": less("length", "step"),
    "less length, step, loss": less("length", "step", "loss"),
    "brings": lambda batches: [one.brings for one in batches],
    GATED: corrected,
}


class Seen(BaseModel):
    """A step, and whether the batch's outputs had been shuffled."""

    step: Step
    wrong: bool


def parse() -> Namespace:
    parser = ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--batches", type=int, default=24)
    parser.add_argument("--size", type=int, default=6)
    parser.add_argument("--seeds", default="0", help="one run with each, separated by commas")
    parser.add_argument("--model", default=LOCAL_STUDENT)
    parser.add_argument("--max-tokens", type=int, default=160)
    parser.add_argument("--log", type=Path, help="write what was seen to this file")
    parser.add_argument("--read", help="train on nothing; judge what was seen in these files, separated by commas")
    options = parser.parse_args()
    if not options.data and not options.read:
        parser.error("give --data or --read")
    return options


def main() -> int:
    options = parse()
    if options.read:
        return judge([run for name in options.read.split(",") for run in read(Path(name))])
    runs = [lessons_heard(options, int(seed)) for seed in options.seeds.split(",")]
    if options.log:
        options.log.write_text(json.dumps([[one.model_dump(mode="json") for one in run] for run in runs]))
    return judge(runs)


def read(path: Path) -> list[list[Seen]]:
    return [[Seen.model_validate(one) for one in run] for run in json.loads(path.read_text())]


def lessons_heard(options: Namespace, seed: int) -> list[Seen]:
    chance = Random(seed)
    # What fits into a batch's few tokens whole, so that a cut answer is not what is measured.
    texts = [
        LessonText(instruction=one.instruction, input=one.input, output=one.output)
        for one in load_answered(options.data)
        if len(one.text) + len(one.output) < 3 * options.max_tokens
    ]
    chance.shuffle(texts)
    count = min(options.batches, len(texts) // options.size)
    wrong = set(chance.sample(range(count), count // 3))
    student = StudentSettings(model=options.model, max_tokens=options.max_tokens)
    learner = begin(student)
    seen = []
    for number in range(count):
        mine = texts[number * options.size : (number + 1) * options.size]
        lessons = dict(enumerate(shuffled(mine, chance) if number in wrong else mine))
        step = take_step(learner, Batch(ordinal=number, members=tuple(lessons)), number, lessons)
        seen.append(Seen(step=step, wrong=number in wrong))
        print(f"{number:3} {'wrong' if number in wrong else 'right'} {described(step)}", flush=True)
    return seen


def shuffled(texts: Sequence[LessonText], chance: Random) -> list[LessonText]:
    """Each with the output of another."""
    shift = chance.randrange(1, len(texts))
    return [
        LessonText(instruction=one.instruction, input=one.input, output=texts[(place + shift) % len(texts)].output)
        for place, one in enumerate(texts)
    ]


def described(step: Step) -> str:
    if step.loss is None or step.gradient_norm is None:
        return str(step.rejected)
    brings = brought([(lesson.tokens, lesson.brings) for lesson in step.lessons]) or 0.0
    return f"loss {step.loss:.3f} norm {step.gradient_norm:.3f} brings {brings:+.3f} {step.seconds:.1f} s"


def judge(runs: Sequence[Sequence[Seen]]) -> int:
    wrong = [one.wrong for run in runs for one in run]
    share = sum(wrong) / len(wrong)
    print(f"\n{len(wrong)} batches in {len(runs)} runs, {share:.0%} wrong; windows of {WINDOW}")
    print(f"{'signal':24}{'AUC of wrong':>14}{'tops':>8}{'in each run':>14}")
    for name, signal in SIGNALS.items():
        each = [topped([run], signal) for run in runs]
        print(f"{name:24}{mean([auc(run, signal) for run in runs]):14.2f}{mean(each):8.2f}    {listed(each)}")
    found = topped(runs, SIGNALS[GATED])
    print(f"\ngate wrong-labels-{GATED} {found:.3f} {share:.3f} {'ok' if found <= share else 'short'}")
    return int(found > share)


def listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:.2f}" for value in values)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def signals_of(seen: Sequence[Seen]) -> list[BatchSignal]:
    return [
        BatchSignal(
            round=one.step.step,
            ordinal=one.step.batch,
            members=tuple(lesson.instruction for lesson in one.step.lessons if lesson.tokens),
            step=one.step.step,
            tokens=sum(lesson.tokens for lesson in one.step.lessons),
            loss=one.step.loss,
            gradient_norm=one.step.gradient_norm,
            norms={lesson.instruction: lesson.gradient_norm for lesson in one.step.lessons},
            brings=brought([(lesson.tokens, lesson.brings) for lesson in one.step.lessons]),
        )
        for one in seen
    ]


def auc(run: Sequence[Seen], signal: Signals) -> float:
    found = list(zip(ranked(signal(signals_of(run))), run, strict=True))
    right = [value for value, one in found if not one.wrong]
    wrong = [value for value, one in found if one.wrong]
    return mean([(high > low) + 0.5 * (high == low) for high in wrong for low in right])


def ranked(values: Sequence[float | None]) -> list[float]:
    return [-float("inf") if value is None else value for value in values]


def topped(runs: Sequence[Sequence[Seen]], signal: Signals) -> float:
    """How often a wrong batch is the top of a window; windows are drawn, for few lie one after the other."""
    chance = Random(0)
    tops = 0
    for _ in range(DRAWS):
        run = chance.choice(runs)
        window = sorted(chance.sample(run, min(WINDOW, len(run))), key=lambda one: one.step.step)
        values = ranked(signal(signals_of(window)))
        tops += window[max(range(len(window)), key=values.__getitem__)].wrong
    return tops / DRAWS


if __name__ == "__main__":
    sys.exit(main())
