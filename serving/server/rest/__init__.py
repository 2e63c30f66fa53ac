"""Takes requests over REST: paths, JSON as tensors, replies, and songs as JSON objects.

Imports: access_log, config_files, file_descriptors, flags, inference, limits, metrics, models, protocol, public_text,
tokens, traffic.
Imported by: embedded.
"""
