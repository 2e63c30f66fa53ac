"""Listeners are taken out of all that a run keeps: see `tfx_pipeline.forget`."""
