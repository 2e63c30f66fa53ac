"""One request run on one version: Predict, Classify, Regress, MultiInference, metadata, and warm-up.

Imports: metrics, models, protocol, savedmodel.
Imported by: embedded, grpc, models, refresh, rest.
"""
