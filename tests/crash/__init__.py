"""Programs that break runs on purpose: `python -m tests.crash` kills them, `python -m tests.crash.corruption` spoils their files."""
