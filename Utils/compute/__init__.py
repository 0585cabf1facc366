"""The machine: processes, devices, memory, time and precision."""
