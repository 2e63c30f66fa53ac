"""What goes over the wire: TensorFlow Serving's messages, tensors as protos, errors as status codes.

Imports: nothing of this project.
Imported by: client, savedmodel, server, tfx_pipeline.
"""
