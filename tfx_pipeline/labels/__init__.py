"""Labels of songs: which songs have similar audiences, and the split of every song, computed on Beam from plays.

Imports: columnar, contract, models, runtime, tfx_extensions.
Imported by: contract, refit, the entrances.
"""
