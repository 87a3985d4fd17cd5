"""The mind: grows trees, decides what to ask next, owns runs, budgets, export and the command line."""
