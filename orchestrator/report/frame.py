"""What all pages have in common: how a template is filled in, and the policy that a page is shown under.

Every text in a page came from a model or a user. Jinja escapes all of them, `visible` lets none hide or turn the page
round (both at once, for every expression, by the environment). Style and script are allowed by their hashes alone.
"""

from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from orchestrator.report import wording
from orchestrator.report.text import passage, shorten, visible


def environment(*packages: str) -> Environment:
    """Of the report's templates, and of those of other packages, which go before."""
    found = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in (*packages, "orchestrator.report")]),
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
    found.filters.update(filters)
    return found


def _finalize(value: object) -> object:
    """Runs on the value of every expression before it is escaped; markup of our own templates is left alone."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def source(environment: Environment, name: str) -> str:
    """A template as it is written."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0].replace("\r\n", "\n")


def policy(style: str, script: str | None) -> str:
    """What a page may do: nothing but apply this style and, where there is one, run this script."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'" if script else "script-src 'none'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
