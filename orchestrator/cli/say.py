"""What the program says to its user, on standard error so that standard output stays clean for data."""

import sys


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
