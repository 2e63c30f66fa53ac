"""Judging a model on cold songs: embeddings of the catalogue, retrieval metrics, baselines, reliability of matches.

Imports `contract`, `labels`, `models`, `runtime`, `tfx_extensions`, and of `serving` what reads an exported model.
Imported by `refit`, `targeting`, `outputs`, `reports` and the pipelines.
"""
