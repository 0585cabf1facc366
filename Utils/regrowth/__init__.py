"""Regrowth: giving pruned weights back to a sparse network, layer by layer."""
