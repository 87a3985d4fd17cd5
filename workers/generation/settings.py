"""Options of generation that the hands obey."""

from typing import Literal

from pydantic import Field

from workers.settings import Settings

# Words of tasks that a text model cannot do (papers.md, 3.1); Alpaca's list has the last five besides (3.2).
UNDOABLE = (
    *("image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps"),
    *("draw", "plot", "go to"),
)
# The number before which a list of tasks ends, as published: 8 are shown and 7 come, or 3 and 16.
_ENDS = {"self-instruct": 16, "alpaca": 20}
UNDOABLE_ALPACA = (*UNDOABLE, "video", "audio", "music", "flowchart", "diagram")


class GenerationSettings(Settings):
    """How new instructions are asked for, and what is refused before any is compared with another.

    variant: `self-instruct` lists instructions and asks for their instances afterwards; `alpaca` asks for twenty whole
        tasks at once, one instance each.
    classification: ask first whether a task is one of classification, and if so for the output before the input.
    instances: at most so many of an instruction.
    ends_before: the list of tasks is stopped at this number; unset, as published: 16 (`self-instruct`), 20 (`alpaca`).
    classification_demonstrations: shown with the question for classification, always the same ones; the paper's are 31.
    ascii_start: refuse what does not begin with an ASCII character, as published. That is every instruction in Greek,
        Russian or Chinese: switch it off for seeds in such languages.
    undoable: words (whole, any case) of tasks that a text model cannot do; unset, the list of the variant.
    lower_case: everything after the first letter in lower case, as the published code does; it damages names and code.
    """

    variant: Literal["self-instruct", "alpaca"] = "self-instruct"
    classification: bool = True
    classification_demonstrations: int = Field(default=31, ge=0, le=31)
    instances: int = Field(default=5, ge=1, le=20)
    ends_before: int | None = Field(default=None, ge=2, le=100)
    min_words: int = Field(default=4, ge=1, le=1000)
    max_words: int = Field(default=150, ge=1, le=10_000)
    max_characters: int = Field(default=8000, ge=20, le=100_000)
    undoable: tuple[str, ...] | None = None
    ascii_start: bool = True
    lower_case: bool = False

    @property
    def words_refused(self) -> tuple[str, ...]:
        if self.undoable is not None:
            return self.undoable
        return UNDOABLE_ALPACA if self.variant == "alpaca" else UNDOABLE

    @property
    def comes_whole(self) -> bool:
        """Whether a text brings its instance with it."""
        return self.variant == "alpaca"

    @property
    def calls_a_text(self) -> int:
        """The calls that a kept text takes until it has its instances."""
        return 0 if self.comes_whole else 1 + self.classification

    def listed(self, shown: int) -> int:
        """How many new texts one prompt may bring."""
        return self.last(shown) - shown

    def last(self, shown: int) -> int:
        """The number of the last task of a list that begins with so many demonstrations: at least one more."""
        return max((self.ends_before or _ENDS[self.variant]) - 1, shown + 1)
