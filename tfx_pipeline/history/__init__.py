"""Earlier runs: what ML Metadata records of them, rollback, pruning, and what the gates compare the next run with.

Imports: runtime, serving.files, serving.refresh, serving.savedmodel, tfx_extensions.
Imported by: index_refresh, local_run, reports, the entrances.
"""
