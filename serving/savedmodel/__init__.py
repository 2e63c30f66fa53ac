"""A SavedModel on disk, as export, refresh and server share it: session, raw fields, warm-up requests, versions.

Imports `serving.protocol` and `serving.files`. Imported by `serving.export`, `serving.refresh`, `serving.server` and
`tfx_pipeline`.
"""
