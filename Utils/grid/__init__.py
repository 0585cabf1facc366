"""Grids: every combination of the given lists, each in a run folder, run in one process, in several, or on a cluster."""
