"""Recipes side by side at equal spend: what is compared, what came of it, the figures, a table and a picture."""
