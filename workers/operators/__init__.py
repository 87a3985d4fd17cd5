"""Operators beyond the built-in ones, and what Evol-Instruct eliminates. Import the modules, not this package."""
