"""Gates that a run must pass: today's data against that of the last push, and the exported model behind a server.

Imports: contract, serving.client, serving.files, serving.savedmodel, serving.server, tfx_extensions.
Imported by: index_refresh, local_run, outputs, reports, the entrances.
"""
