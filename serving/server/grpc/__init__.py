"""Takes requests over gRPC: TensorFlow Serving's services and health. `import grpc` in here is the library.

Imports: access_log, config_files, file_descriptors, flags, holdings, inference, limits, metrics, models, protocol,
public_text, tokens, traffic, work.
Imported by: embedded.
"""
