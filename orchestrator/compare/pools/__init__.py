"""Pools side by side at equal calls: what each kept and what one kept instruction cost."""
