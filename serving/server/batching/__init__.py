"""Joins requests into batches: the settings, the queues and their threads, a session that uses them.

Imports: config_files, metrics, protocol, savedmodel.
Imported by: embedded, models.
"""
