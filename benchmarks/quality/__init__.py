"""The evidence: every baseline that matters beside every part of the method (`python -m benchmarks.quality`)."""
