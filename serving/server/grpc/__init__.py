"""Takes requests over gRPC: TensorFlow Serving's services and health. `import grpc` in here is the library.

Imports: config_files, flags, inference, limits, metrics, models, protocol.
Imported by: embedded.
"""
