"""A SavedModel on disk, as export, refresh and server share it: session, raw fields, warm-up requests, versions.

Imports: files, protocol.
Imported by: export, refresh, request_log, server, tfx_pipeline.
"""
