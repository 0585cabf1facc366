"""Measures of one step of a PyTorch profiler trace: busy, idle and convolution time, layer by layer."""
