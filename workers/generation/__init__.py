"""Generation from a pool of seeds: prompts for new instructions and for their instances, and what is refused of them.

The algorithms are Self-Instruct's (papers.md, 3.1) and, as an option, Alpaca's (3.2).
"""
