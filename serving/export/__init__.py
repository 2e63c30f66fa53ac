"""Writes a trained model as a SavedModel: its signatures, the song index in the graph, explanations of scores.

Imports `serving.savedmodel` and `serving.files`. Imported by `tfx_pipeline.models`, never by client or server.
"""
