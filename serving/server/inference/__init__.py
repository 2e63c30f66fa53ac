"""Answers a request: Predict, Classify, Regress, MultiInference, metadata, and the replay of warm-up requests.

Imports: metrics, protocol, public_text, request_log, savedmodel.
Imported by: embedded, grpc, limits, models, refresh, request_log, rest.
"""
