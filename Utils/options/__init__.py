"""The command line: flags, their values, and the options of each run that come of them."""
