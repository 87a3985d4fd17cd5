"""What to change next time with a pool: rules as those of trees (`advice`), over what became of its texts."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from db.pool_views import Refusal
from db.records import RoundRow
from orchestrator.report.advice import ENOUGH, MANY, SOME, Advice, of_night, share_of
from orchestrator.report.night import Night
from orchestrator.report.pool_figures import prompts_lost, steps_taken
from orchestrator.report.pool_model import PoolStory
from orchestrator.report.wording import words

# What was given up for a cap is told by the cap, near-copies by what is new; spare instances are no loss.
_CAP, _COPY, _SPARE = "budget", "duplicate", "not_sampled"
# Near-copies are what the gate is for: there is a word to say where most are.
_MOST = 0.5
_NEWER = "more seeds, and seeds of other kinds, before more rounds; a higher temperature of the generator"
_STEADIER = "a steadier endpoint, or a second one; the workers' logs say why calls failed"
_OF_CALLS = {"call_failed": _STEADIER, "task_failed": _STEADIER}
_OF_COMPLETIONS = {"cut_off": "raise roles.generator.max_tokens", **_OF_CALLS}
_OF_HEURISTICS = {
    "odd_start": "generation.ascii_start=false where the seeds are not in English; else a stronger generator",
    "undoable": "leave seeds about pictures, files and the like out, or say in generation.undoable what cannot be done",
    "too_short": "lower generation.min_words, or give longer seeds",
    "too_long": "raise generation.max_words, or give shorter seeds",
}
_OF_INSTANCES = {"cut_off": "raise roles.responder.max_tokens", **_OF_CALLS}
_OF_STEPS = {"nothing_to_learn": "raise student.max_tokens: no token of an answer was left to learn from"}


def pool_advice(story: PoolStory, night: Night | None) -> tuple[Advice, ...]:
    """In the order of what weighs most; empty where nothing stands out."""
    found: list[Advice] = []
    for rule in _RULES:
        found += rule(story)
    return (*found, *of_night(night))


def _cut_short(story: PoolStory) -> Iterator[Advice]:
    if story.run.status != "stopped":
        return
    unpaid = _given_up(story)
    left = f", and left {unpaid:,} texts without instances" if unpaid else ""
    yield Advice(
        seen=f"a cap ended it after {len(story.rounds):,} rounds with {story.counts.with_instance:,} kept{left}",
        do="raise the cap, or lower rounds.target to what it pays for: the stages say what a kept instruction cost",
    )


def _used_up(story: PoolStory) -> Iterator[Advice]:
    """Little that was new came, or less and less; said once, by what tells most of it."""
    copies = sum(found.count for found in story.text_reasons if found.reason == _COPY)
    first, last = _at_both_ends([row for row in story.rounds if row.status != "generating"])
    if story.run.status == "done" and story.run.reason:
        yield Advice(seen=story.run.reason, do=_NEWER)
    elif last < first / 2:
        seen = f"of the first quarter of the rounds {first:.0%} of the texts were kept, of the last {last:.0%}"
        yield Advice(seen=seen, do=_NEWER)
    elif (share := share_of(copies, story.counts.after_heuristics)) > _MOST:
        yield Advice(seen=f"{share:.0%} of the texts that heuristics let through were near-copies", do=_NEWER)


def _at_both_ends(rounds: Sequence[RoundRow]) -> tuple[float, float]:
    """The shares kept of the first quarter of the rounds and of the last; the same where there are too few to tell."""
    quarter = len(rounds) // 4
    ends = rounds[:quarter], rounds[len(rounds) - quarter :]
    made = [sum(row.generated for row in end) for end in ends]
    if min(made) < ENOUGH:
        return 0.0, 0.0
    first, last = (sum(row.kept for row in end) / count for end, count in zip(ends, made, strict=True))
    return first, last


def _completions(story: PoolStory) -> Iterator[Advice]:
    lost = [(reason, count) for reason, count in prompts_lost(story.rounds) if reason != _CAP]
    share = share_of(sum(count for _, count in lost), sum(row.prompts for row in story.rounds))
    if share > SOME:
        yield _most_of(
            lost,
            f"{share:.0%} of the completions held nothing",
            _OF_COMPLETIONS,
            "a stronger generator: what it writes is no list of tasks",
        )


def _heuristics(story: PoolStory) -> Iterator[Advice]:
    refused = _counted(found for found in story.text_reasons if found.reason != _COPY)
    share = share_of(sum(count for _, count in refused), story.counts.generated)
    if share > MANY:
        yield _most_of(
            refused,
            f"heuristics refused {share:.0%} of the texts",
            _OF_HEURISTICS,
            "a stronger generator writes fewer of these",
        )


def _instances(story: PoolStory) -> Iterator[Advice]:
    """Of the kept texts that were asked for instances those that have no good one."""
    counts = story.counts
    asked = counts.kept - counts.unsettled - _given_up(story)
    share = share_of(asked - counts.with_instance, asked)
    if share > MANY:
        yield _most_of(
            _counted(found for found in story.instance_reasons if found.reason not in (_CAP, _SPARE)),
            f"{share:.0%} of the kept texts have no good instance",
            _OF_INSTANCES,
            "a stronger responder: a text without an instance is paid for and lost",
        )


def _brings_nothing(story: PoolStory) -> Iterator[Advice]:
    share = share_of(story.brought.nothing, story.brought.measured)
    if share > SOME:
        yield Advice(
            seen=f"{share:.0%} of the instructions trained on bring nothing to their answers",
            do="a stronger responder, for so it is with wrong answers; feedback.signal=corrected passes them by",
        )


def _marked(story: PoolStory) -> Iterator[Advice]:
    steps = steps_taken(story.batches)
    reasons = Counter(step.reason for step in steps if step.reason is not None)
    share = share_of(reasons.total(), len(steps))
    if share > SOME:
        yield _most_of(
            reasons.most_common(),
            f"{share:.0%} of the steps of training changed nothing",
            _OF_STEPS,
            "a lower student.learning_rate, or another student",
        )


def _most_of(reasons: Sequence[tuple[str, int]], seen: str, cures: Mapping[str, str], otherwise: str) -> Advice:
    """`reasons`: the most frequent first, by which the cure is chosen."""
    if not reasons:
        return Advice(seen=seen, do=otherwise)
    first = reasons[0][0]
    return Advice(seen=f"{seen}, most often: {words(first)}", do=cures.get(first, otherwise))


def _counted(refusals: Iterable[Refusal]) -> list[tuple[str, int]]:
    return [(found.reason, found.count) for found in refusals]


def _given_up(story: PoolStory) -> int:
    """Kept texts whose instances a cap did not pay for."""
    return sum(found.count for found in story.instance_reasons if found.reason == _CAP)


_RULES: tuple[Callable[[PoolStory], Iterable[Advice]], ...] = (
    *(_cut_short, _used_up, _completions, _heuristics, _instances, _brings_nothing, _marked),
)
