"""The model in the pipeline: names of features, the transform graph, song columns, Trainer and Tuner.

Imports: bcl_keras, contract, runtime, serving.export, serving.refresh, serving.savedmodel, tfx_extensions.
Imported by: contract, evaluation, index_refresh, labels, refit, the entrances.
"""
