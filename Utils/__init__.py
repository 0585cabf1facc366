"""Options, data, training, measuring and results: one file per concern."""
