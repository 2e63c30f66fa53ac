"""What travels between client and server: messages, tensors, and errors as status codes.

The .proto files are in `definitions`; `generate` compiles them.

Imports: files.
Imported by: client, refresh, savedmodel, server, tfx_pipeline.
"""
