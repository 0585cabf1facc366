"""A network and its training."""
