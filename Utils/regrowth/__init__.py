"""Regrowth: pruned weights are given back to a sparse network, layer by layer."""
