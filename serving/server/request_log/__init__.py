"""Requests and their replies on disk, as TensorFlow Serving's PredictionLog in TFRecord files.

Imports: access_log, files, flags, metrics, protocol.
Imported by: embedded, flags, inference, models, request_log.
"""
