"""What a trained model becomes: signatures, the song index in the graph, the explanation of a score.

Imports: savedmodel.
Imported by: tfx_pipeline.
"""
