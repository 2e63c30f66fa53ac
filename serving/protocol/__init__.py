"""What travels between client and server: messages, tensors, and errors as status codes.

The .proto files are in `definitions`; `generate` compiles them.

Imports: files.
Imported by: client, refresh, request_log, savedmodel, server, tfx_pipeline.
"""
