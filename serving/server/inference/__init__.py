"""One request run on one version: Predict, Classify, Regress, MultiInference, metadata, and warm-up.

Imports `serving.savedmodel` and `serving.protocol`. Imported by `serving.server.models` and the front ends.
"""
