"""Labels of songs: which songs have similar audiences, and the split of every song, computed on Beam from plays.

Imports `contract`, `models.features`, `runtime` and `tfx_extensions`. Imported by `config` and by every room whose
component reads labelled songs.
"""
