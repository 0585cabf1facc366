"""Speed, measured against a textbook version of the same work: `python -m benchmarks`."""
