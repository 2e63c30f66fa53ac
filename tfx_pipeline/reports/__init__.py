"""Reports on a run: the run page, the demo's report and one line of JSON for a scheduler.

Imports: contract, evaluation, gates, history, outputs, runtime, serving.client, serving.savedmodel, targeting,
tfx_extensions.
Imported by: local_run, the entrances.
"""
