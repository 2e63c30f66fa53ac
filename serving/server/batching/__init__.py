"""Joins requests into batches: the settings, the queues and their threads, a session that uses them.

Imports `serving.savedmodel` and `serving.protocol`. Imported by `serving.server.models`.
"""
