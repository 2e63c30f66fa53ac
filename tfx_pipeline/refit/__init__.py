"""The served model: fitted again on all songs after the judged model has passed, and compared with it.

Imports `contract`, `labels`, `models`, `evaluation`, `index_refresh`, `runtime` and `tfx_extensions`. Imported by
`pipeline`.
"""
