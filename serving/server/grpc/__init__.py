"""TensorFlow Serving's gRPC services and the health service. Inside this package `import grpc` is still the library.

Imports `serving.server.inference` and `serving.server.models`. Imported by `serving.server.embedded`.
"""
