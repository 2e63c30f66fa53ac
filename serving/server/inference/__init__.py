"""Answers a request: Predict, Classify, Regress, MultiInference, metadata, and the replay of warm-up requests.

Imports `serving.savedmodel` and `serving.protocol`. Imported by `serving.server.models`, `serving.server.grpc`,
`serving.server.rest` and `serving.refresh`.
"""
