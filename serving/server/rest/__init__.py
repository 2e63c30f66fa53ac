"""Takes requests over REST: paths, JSON as tensors, replies, and songs as JSON objects.

Imports: config_files, flags, inference, limits, metrics, models, protocol.
Imported by: embedded.
"""
