"""What every part of the project builds on; nothing here imports another part."""
