"""Judging a model on cold songs: embeddings of the catalogue, retrieval metrics, baselines, reliability of matches.

Imports: bcl_keras, contract, models, runtime, serving.files, serving.refresh, serving.savedmodel, tfx_extensions.
Imported by: contract, index_refresh, outputs, refit, reports, targeting, the entrances.
"""
