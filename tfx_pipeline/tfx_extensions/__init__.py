"""Extensions of TFX: artifact types, executors, components with our defaults, progress, plays read in columns.

Imports: contract, runtime, serving.files, serving.refresh.
Imported by: evaluation, gates, history, index_refresh, labels, local_run, models, outputs, refit, reports, targeting,
the entrances.
"""
