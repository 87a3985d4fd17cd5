"""Exit codes (design, section 9)."""

DONE = 0
BROKEN = 1  # a law or a check failed
USAGE = 2  # bad usage or bad input: one clear line was printed
BUDGET = 3  # stopped by budget, the data set is written
INTERRUPTED = 130  # resumable
