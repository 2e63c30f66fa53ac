"""What travels between client and server: messages, tensors, and errors as status codes.

Imports nothing of this project, and no TensorFlow. Imported by `serving.client`, `serving.savedmodel` and
`serving.server`. The .proto files are in `definitions`; `generate` compiles them.
"""
