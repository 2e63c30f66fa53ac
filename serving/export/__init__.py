"""What a trained model becomes: signatures, the song index in the graph, the explanation of a score.

Imports TensorFlow and `serving.savedmodel`. Imported by `tfx_pipeline.models`, never by the
client or the server.
"""
