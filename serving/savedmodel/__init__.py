"""What export, refresh and server share of a SavedModel: its session, raw inputs, warm-up requests and version folders.

Imports: files, protocol.
Imported by: export, refresh, server, tfx_pipeline.
"""
