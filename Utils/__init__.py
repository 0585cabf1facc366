"""Options, data, training, measurements and results: one package per concern."""
