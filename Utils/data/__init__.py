"""Datasets: what there is, where it comes from, and batches of it."""
