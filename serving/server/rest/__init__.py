"""TensorFlow Serving's REST interface: requests, JSON as tensors, replies, songs as JSON objects.

Imports `serving.server.inference` and `serving.server.models`. Imported by `serving.server.embedded`.
"""
