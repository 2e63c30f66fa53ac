"""Changes the song index of an exported model without training: adds songs, drops them, takes them down.

Imports: files, protocol, savedmodel, server.
Imported by: tfx_pipeline.
"""
