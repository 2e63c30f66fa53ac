"""A served index brought up to date without training: new songs checked, embedded, matched and given targets.

Imports: contract, evaluation, gates, models, outputs, runtime, serving.refresh, serving.savedmodel, targeting,
tfx_extensions.
Imported by: the entrances.
"""
