"""Training a student on batches of instructions, to learn which of them were worth having (papers.md, 2.3).

Only `steps`, `student` and what they name need the extra `train`; everything else imports on the core.
"""
