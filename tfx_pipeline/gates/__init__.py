"""Gates that a run must pass: today's data against the data of the last push, and the exported model on a server.

Imports: contract, serving.client, serving.files, serving.savedmodel, serving.server, tfx_extensions.
Imported by: index_refresh, local_run, outputs, reports, the entrances.
"""
