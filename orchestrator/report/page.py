"""`report.html`: one file with everything in it. It loads nothing, and its policy forbids it to.

Every text in it came from a model or a user. Jinja escapes all of them, `visible` lets none hide or turn the page round
(both at once, for every expression, by the environment), and there is no JSON for a text to break out of: a node's
panel is HTML, the script only shows and hides. Style and script are allowed by their hashes alone.
"""

from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256

from jinja2 import Environment, PackageLoader, StrictUndefined

from orchestrator.report import charts, wording
from orchestrator.report.drawing import shade_of
from orchestrator.report.forest import Forest, gather, reward
from orchestrator.report.model import Report, RunStory
from orchestrator.report.numbers import edges, finite
from orchestrator.report.panels import TreeView, view
from orchestrator.report.summary import summarise
from orchestrator.report.text import passage, shorten, visible

_SHADES = 8


def render(story: RunStory) -> str:
    """The whole page, as text to be written in UTF-8."""
    report, forest = summarise(story), gather(story)
    bounds = _shade_bounds(forest)
    environment = _environment()
    style, script = (_source(environment, name) for name in ("style.css", "script.js"))
    return environment.get_template("page.html.j2").render(
        report=report,
        style=style,
        script=script,
        policy=_policy(style, script),
        histograms=[charts.histogram(found) for found in report.distributions],
        whiskers=charts.whiskers(report.operators),
        legend=_legend(bounds),
        groups=_groups(report, forest, story, bounds),
    )


def _groups(
    report: Report, forest: Forest, story: RunStory, bounds: tuple[float, ...]
) -> list[tuple[str, str, list[TreeView]]]:
    choice = report.choice
    chosen = (
        ("best", "Largest gains", choice.best),
        ("worst", "Smallest gains", choice.worst),
        ("without", "Without a gain to rank", choice.without_gain),
    )
    return [
        (name, title, [view(forest, found, story.node_costs, bounds) for found in trees])
        for name, title, trees in chosen
        if trees
    ]


def _shade_bounds(forest: Forest) -> tuple[float, ...]:
    """The edges between shades: round numbers over the rewards of all nodes of the run, lowest and highest left off."""
    values = finite(reward(node) for node in forest.nodes.values())
    if not values:
        return ()
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 50], ordered[-1 - len(ordered) // 50]
    return edges([low, (low + high) / 2, high], most=_SHADES)[1:]


def _legend(bounds: tuple[float, ...]) -> list[tuple[str, str]]:
    """Each shade with the edge at its upper end. The outer two take the outliers too, so the last has no edge."""
    labels = [*(wording.axis(bound) for bound in bounds[:-1]), ""]
    return [(shade_of(i, len(bounds)), label) for i, label in enumerate(labels[: len(bounds)])]


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("orchestrator.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., object]] = {
        "number": wording.number,
        "signed": wording.signed,
        "whole": wording.whole,
        "percent": wording.percent,
        "dollars": wording.dollars,
        "duration": wording.duration,
        "moment": wording.moment,
        "words": wording.words,
        "axis": wording.axis,
        "passage": passage,
        "shorten": shorten,
    }
    environment.filters.update(filters)
    return environment


def _finalize(value: object) -> object:
    """Runs on the value of every expression before it is escaped; markup of our own templates is left alone."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0].replace("\r\n", "\n")


def _policy(style: str, script: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(source: str) -> str:
    return f"sha256-{b64encode(sha256(source.encode()).digest()).decode()}"
