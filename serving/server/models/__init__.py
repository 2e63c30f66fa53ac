"""Loads and unloads the versions of models, and lends them to requests: configuration, labels, reloads, status.

Imports `serving.server.batching`, `serving.server.inference` and `serving.savedmodel`. Imported by the front ends.
"""
