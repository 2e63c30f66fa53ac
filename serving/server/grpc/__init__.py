"""Takes requests over gRPC: TensorFlow Serving's services and health. `import grpc` in here is the library.

Imports `serving.server.inference` and `serving.server.models`. Imported by `serving.server.embedded`.
"""
