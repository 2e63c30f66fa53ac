"""Requests joined to batches: TensorFlow Serving's parameters, one scheduler a session.

Imports `serving.savedmodel` and `serving.protocol`. Imported by `serving.server.models`.
"""
