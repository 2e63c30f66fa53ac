"""One run on this machine: what a command asks for, the check of the input, the pipeline, a demo and a night.

Imports: contract, datasets, gates, history, outputs, removal, reports, runtime, targeting, tfx_extensions, the
entrances.
Imported by: the entrances.

TFX takes half a minute to load, so it is imported once the input has been checked.
"""
