"""Requests joined to batches: TensorFlow Serving's parameters, one scheduler a session.

Imports: config_files, metrics, protocol, savedmodel.
Imported by: embedded, models.
"""
