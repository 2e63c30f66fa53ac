"""Models and versions that are loaded: configuration, the table of versions, loading, reloading, leases.

Imports `serving.server.batching`, `serving.server.inference` and `serving.savedmodel`. Imported by the front ends.
"""
