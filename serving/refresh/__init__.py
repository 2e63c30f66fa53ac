"""The index of an exported model changed without training: songs added, dropped and taken down.

Imports: files, savedmodel, server.
Imported by: tfx_pipeline.
"""
