"""Experiments, one readable script each: `Experiments/NAME.py` with a function `run(options)`."""
