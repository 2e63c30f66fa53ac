"""The study of quality: every baseline beside every part of the method (`python -m benchmarks.quality`)."""
