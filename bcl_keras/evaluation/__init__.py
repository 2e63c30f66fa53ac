"""How well scores retrieve: metrics, bootstrap intervals, content statistics and the choice of settings, in numpy.

The library, the pipeline and the benchmarks compute their figures here. `bcl_keras.metrics` has the same metrics as
Keras metrics, for training.

Imports: blocks, fields.
Imported by: callbacks, closed_form, content, models, tfx_pipeline.
"""
