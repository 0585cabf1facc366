"""Run folders: written, resumed, found again and read."""
