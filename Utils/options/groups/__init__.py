"""The options of the command line, a dataclass for each group; a field carries its flag, its help and its effects."""
