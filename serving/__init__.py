"""A trained model from export to answer: what is saved, how it is served, how a client asks.

Nothing here imports `bcl_keras`. Only `serving.export` is imported where models are trained; `serving.client` needs
neither TensorFlow nor anything of this project but `serving.protocol`.
"""
