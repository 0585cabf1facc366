"""What a PyTorch profiler trace says about one step: busy, idle and convolution time, layer by layer."""
