"""Counts and times of a network: parameters, FLOPs, inference time, weights."""
