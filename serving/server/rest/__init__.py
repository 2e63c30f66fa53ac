"""Takes requests over REST: paths, JSON as tensors, replies, and songs as JSON objects.

Imports `serving.server.inference` and `serving.server.models`. Imported by `serving.server.embedded`.
"""
