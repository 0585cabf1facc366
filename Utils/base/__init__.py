"""The foundation of every part of the project; no file here imports another part."""
