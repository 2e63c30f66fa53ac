"""Answers a request: Predict, Classify, Regress, MultiInference, metadata, and the replay of warm-up requests.

Imports: metrics, protocol, public_text, refusals, request_log, savedmodel, work.
Imported by: embedded, grpc, limits, models, refresh, request_log, rest.
"""
