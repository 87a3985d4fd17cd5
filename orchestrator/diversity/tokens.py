"""What ROUGE-L compares: the words of a text."""

import re
from collections.abc import Callable

Tokeniser = Callable[[str], list[str]]

# Written without spaces, so that only characters can be told: Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese.
_UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_ROUGE = re.compile(r"[a-z0-9]+")
_EVERY = re.compile(rf"[a-z0-9]+|[{_UNSPACED}]|[^\W_a-z0-9{_UNSPACED}]+")
_MARK = re.compile(r"\S")


def rouge_tokens(text: str) -> list[str]:
    """The tokens of the package rouge-score without its stemmer: runs of a-z and 0-9 of the lower-cased text.

    Every other letter is dropped: of "naïve" stay "na" and "ve", of Chinese or Russian nothing.
    """
    return _ROUGE.findall(text.lower())


def all_tokens(text: str) -> list[str]:
    """The same, and what rouge-score drops as tokens of their own: runs of other letters, characters where no spaces
    are written. A text with none of these is known by its marks.

    Nothing differs from rouge-score where it drops no letter and leaves some.
    """
    lowered = text.lower()
    found = _ROUGE.findall(lowered) if lowered.isascii() else _EVERY.findall(lowered)
    return found or _MARK.findall(lowered)
