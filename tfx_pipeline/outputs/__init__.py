"""Published results: the files that a run gives to others, written whole; `schemas` has their columns.

Imports: contract, evaluation, gates, runtime, serving.client, serving.files, serving.refresh, serving.savedmodel,
serving.server, targeting, tfx_extensions.
Imported by: index_refresh, local_run, reports, the entrances.
"""
