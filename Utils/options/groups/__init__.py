"""The options of the command line, one dataclass for each group: a field carries its flag, its help and what it affects."""
