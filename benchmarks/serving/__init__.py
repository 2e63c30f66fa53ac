"""The embedded server measured: `python -m benchmarks.serving`."""
