"""Writes a trained model as a SavedModel: its signatures, the song index in the graph, explanations of scores.

Imports: files, savedmodel.
Imported by: tfx_pipeline.
"""
