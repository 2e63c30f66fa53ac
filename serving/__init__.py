"""A trained model after training: exported, refreshed, served and asked.

`export` writes a SavedModel, `refresh` changes its song index, `server` answers as TensorFlow Serving does, and
`client` asks. `savedmodel`, `protocol` and `files` are what they share. Nothing here imports `bcl_keras` or
`tfx_pipeline`.
"""
