"""What became of a call that was answered: ok, cut, empty, refused or filtered. All five are paid and recorded."""

from typing import Literal

from workers.llm.refusal import is_refusal
from workers.llm.request import Request, Response

Outcome = Literal["ok", "cut", "empty", "refused", "filtered"]


def outcome_of(request: Request, response: Response) -> Outcome:
    """The first of filtered, refused, cut, empty that applies.

    Where log-probabilities were asked for, they are the answer: it has one token and is never cut off.
    """
    if response.finish_reason == "content_filter":
        return "filtered"
    if response.refusal:
        return "refused"
    if request.logprobs and response.top_logprobs:
        return "ok"
    if is_refusal(response.text):
        return "refused"
    if response.finish_reason == "length" and not request.logprobs:
        return "cut"
    return "ok" if any(map(str.isprintable, response.text.replace(" ", ""))) else "empty"
