"""Gates that a run must pass: today's data against that of the last push, and the exported model behind a server.

Imports `contract`, `labels`, `runtime`, `tfx_extensions`, `serving.client` and `serving.server`. Imported by `config`,
`reports` and the pipelines.
"""
