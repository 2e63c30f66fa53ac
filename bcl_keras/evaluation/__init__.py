"""How well scores retrieve: metrics, bootstrap intervals, content statistics and the choice of settings, in numpy.

The library, the pipeline and the benchmarks compute their figures here. Imports `fields` and `blocks` only.
`bcl_keras.metrics` has the same metrics as Keras metrics, for training.
"""
