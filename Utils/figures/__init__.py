"""Figures, on matplotlib's Figure objects alone: nothing global is set or read."""
