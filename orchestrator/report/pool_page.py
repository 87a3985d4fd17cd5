"""`report.html` of a run without trees: one file, which loads nothing and runs nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from db.pool_views import Refusal, RefusedInstance, RefusedText
from orchestrator.generation.stages import Row
from orchestrator.report import plots
from orchestrator.report.frame import environment, policy, source
from orchestrator.report.night import night
from orchestrator.report.panels import Marked, compared
from orchestrator.report.pool_advice import pool_advice
from orchestrator.report.pool_figures import headline, prompts_lost, round_spans, step_spans
from orchestrator.report.pool_model import PoolStory, RoundSpan, StepSpan
from orchestrator.report.spending import ranked
from orchestrator.report.turns import turns

# How much of a run is sampled for its page: texts and instances of each reason, examples, changes of the seed pool.
EACH, EXAMPLES, MOVES = 4, 12, 200
_MOST_REASONS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A refused text. For a near-copy, its text and the nearest one in pieces, with what only one of them has."""

    row: RefusedText
    text: Marked | None = None
    nearest: Marked | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGroup:
    reason: Refusal
    rows: tuple[Refused, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceGroup:
    reason: Refusal
    rows: tuple[RefusedInstance, ...]


def render_pool(story: PoolStory) -> str:
    """The whole page, as text to be written in UTF-8."""
    jinja = environment()
    style = source(jinja, "style.css") + source(jinja, "pool.css")
    rounds, steps = round_spans(story), step_spans(story)
    told = night(story.minutes, story.happened)
    return jinja.get_template("pool.html.j2").render(
        h=headline(story),
        story=story,
        style=style,
        script=None,
        policy=policy(style, None),
        stages=[row for row in story.stages if row.stage is not None and _is_used(row)],
        total=next((row for row in story.stages if row.stage is None), None),
        lost=prompts_lost(story.rounds),
        rounds=rounds,
        steps=steps,
        plots=_plots(rounds, steps),
        texts=_texts(story),
        instances=_instances(story),
        night=told,
        turns=turns(story.run.changes, story.minutes),
        spend=ranked(story.spend),
        advice=pool_advice(story, told),
    )


def _is_used(row: Row) -> bool:
    return bool(row.entered or row.spend.calls or row.spend.seconds)


def _plots(rounds: Sequence[RoundSpan], steps: Sequence[StepSpan]) -> dict[str, plots.Plot | None]:
    by_round, by_step = [(one.first, one.last) for one in rounds], [(one.first, one.last) for one in steps]
    marked = [bool(one.marked) for one in steps]
    measured = [one for one in rounds if one.diversity is not None]
    return {
        "kept": plots.share_bars(by_round, [one.share for one in rounds]),
        "norm": plots.lines(by_step, [("after", [one.gradient_norm for one in steps])], marked=marked),
        "loss": plots.lines(by_step, [("after", [one.loss for one in steps])], marked=marked),
        "diversity": plots.lines(
            [(one.first, one.last) for one in measured],
            [
                ("before", [one.diversity_random for one in measured]),
                ("after", [one.diversity for one in measured]),
            ],
        ),
    }


def _texts(story: PoolStory) -> list[TextGroup]:
    found: dict[str, list[Refused]] = {}
    for row in story.refused_texts:
        found.setdefault(row.reason, []).append(_refused(row))
    return [
        TextGroup(reason=reason, rows=tuple(found.get(reason.reason, ())))
        for reason in story.text_reasons[:_MOST_REASONS]
    ]


def _instances(story: PoolStory) -> list[InstanceGroup]:
    found: dict[tuple[str, str], list[RefusedInstance]] = {}
    for row in story.refused_instances:
        found.setdefault((row.status, row.reason), []).append(row)
    return [
        InstanceGroup(reason=reason, rows=tuple(found.get((reason.status, reason.reason), ())))
        for reason in story.instance_reasons[:_MOST_REASONS]
    ]


def _refused(row: RefusedText) -> Refused:
    if row.nearest_text is None:
        return Refused(row=row)
    text, nearest = compared(row.nearest_text, row.text)
    return Refused(row=row, text=text, nearest=nearest)
