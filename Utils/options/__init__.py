"""The command line: flags, their values, and the resulting options of each run."""
