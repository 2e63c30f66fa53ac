"""What export, refresh and server share of a SavedModel: its session, raw inputs, warm-up requests and version folders.

Imports `serving.protocol` and `serving.files`. Imported by `serving.export`, `serving.refresh` and `serving.server`.
"""
