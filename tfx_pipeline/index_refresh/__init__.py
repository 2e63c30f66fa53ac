"""A served index brought up to date without training: new songs checked, embedded, matched and given targets.

Imports: contract, evaluation, gates, history, models, outputs, removal, runtime, serving.refresh, serving.savedmodel,
targeting, tfx_extensions.
Imported by: the entrances.
"""
