"""Loads and unloads the versions of models, and lends them to requests: configuration, labels, reloads, status.

Imports: batching, config_files, flags, inference, metrics, protocol, public_text, request_log, savedmodel.
Imported by: embedded, grpc, refresh, rest.
"""
