"""Answers a request: Predict, Classify, Regress, MultiInference, metadata, status, and the replay of warm-up requests.

Imports `serving.savedmodel` and `serving.protocol`, and borrows versions from `serving.server.models`. Imported by
`serving.server.grpc`, `serving.server.rest`, `serving.server.models` (warm-up) and `serving.refresh`.
"""
