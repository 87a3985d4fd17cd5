"""What the program says on a terminal: to its user on standard error, so that standard output stays clean for answers.

Much of it was written by others: names in files, model ids and error words of endpoints, texts of models. None of it
is to command a terminal, or to turn its writing round.
"""

import sys


def say(line: str) -> None:
    """One line on standard error."""
    print(plain(line), file=sys.stderr, flush=True)


def print_line(line: str) -> None:
    """One line of what was asked for, on standard output."""
    print(plain(line))


def plain(text: str) -> str:
    """The text on one line, with a question mark for what cannot be seen."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "?" for c in text)
