"""Extensions of TFX: artifact types, executors, components with our defaults, progress, plays read in columns.

Imports: columnar, contract, runtime, serving.files, serving.protocol, serving.refresh, serving.savedmodel.
Imported by: evaluation, gates, history, index_refresh, labels, local_run, models, outputs, refit, reports, targeting,
the entrances.
"""
