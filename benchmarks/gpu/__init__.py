"""Measure this project's work on a CUDA card: `python -m benchmarks.gpu`."""
