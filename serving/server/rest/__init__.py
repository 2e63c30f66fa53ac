"""Takes requests over REST: paths, JSON as tensors, replies, and songs as JSON objects.

Imports: flags, inference, metrics, models, protocol.
Imported by: embedded.
"""
