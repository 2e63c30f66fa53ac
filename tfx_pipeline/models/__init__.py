"""The model in the pipeline: names of features, the transform graph, song columns, Trainer and Tuner.

Imports `contract`, `runtime`, `tfx_extensions`, `serving.export` and `bcl_keras`. Imported by `evaluation`, `refit`,
`index_refresh`, `reports` and the pipelines.
"""
