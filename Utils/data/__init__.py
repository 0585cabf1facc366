"""Datasets: the catalogue, the readers, the downloads, and batches of images."""
