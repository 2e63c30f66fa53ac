"""Answers a request: Predict, Classify, Regress, MultiInference, metadata, and the replay of warm-up requests.

Imports: metrics, protocol, refusals, savedmodel, work.
Imported by: embedded, grpc, limits, models, refresh, rest.
"""
