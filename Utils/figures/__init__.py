"""Figures, made only of matplotlib's Figure objects, without global state."""
