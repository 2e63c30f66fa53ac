"""Joins requests into batches: the settings, the queues and their threads, a session that uses them.

Imports: config_files, metrics, protocol, savedmodel, work.
Imported by: embedded, models.
"""
