"""TensorFlow Serving's gRPC services and the health service. Inside this package `import grpc` is still the library.

Imports: config_files, flags, inference, metrics, models, protocol.
Imported by: embedded.
"""
