"""What a run gives to others: files with an address, published whole; see `schemas` for their columns.

Imports: contract, evaluation, gates, runtime, serving.client, serving.files, serving.refresh, serving.savedmodel,
serving.server, targeting, tfx_extensions.
Imported by: index_refresh, local_run, reports, the entrances.
"""
