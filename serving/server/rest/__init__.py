"""TensorFlow Serving's REST interface: requests, JSON as tensors, replies, songs as JSON objects.

Imports: flags, inference, metrics, models, protocol, savedmodel.
Imported by: embedded.
"""
