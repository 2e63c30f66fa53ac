"""Takes requests over REST: paths, JSON as tensors, replies, and songs as JSON objects.

Imports: access_log, config_files, file_descriptors, flags, holdings, inference, limits, metrics, models, protocol,
public_text, refusals, tokens, traffic, work.
Imported by: embedded.
"""
