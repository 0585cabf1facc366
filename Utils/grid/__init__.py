"""Grids: every combination of the lists given, a run folder each, in one process, in several, or on a cluster."""
