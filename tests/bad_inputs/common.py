"""What many of the lines have in common."""

from __future__ import annotations

T = "--dataset synthetic:1x8x8:3:60"
LONG = "x" * 300  # longer than the name of a file may be
