"""The refresh of a served index without training: new songs checked, embedded, matched and given targets.

Imports: contract, evaluation, gates, history, models, outputs, removal, runtime, serving.files, serving.protocol,
serving.refresh, serving.savedmodel, targeting, tfx_extensions.
Imported by: the entrances.
"""
