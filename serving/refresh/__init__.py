"""Changes the song index of an exported model without training: adds songs, drops them, takes them down.

Imports `serving.savedmodel`, `serving.files` and, to check what it wrote, `serving.server.inference`. Imported by
`tfx_pipeline`.
"""
