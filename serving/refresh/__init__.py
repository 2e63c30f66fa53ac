"""The index of an exported model changed without training: songs added, dropped and taken down.

Imports `serving.savedmodel` and `serving.server.inference`. Imported by `tfx_pipeline`.
"""
