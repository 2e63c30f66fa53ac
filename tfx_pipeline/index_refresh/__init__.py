"""A served index brought up to date without training: new songs checked, embedded, matched and given targets.

Imports `contract`, `evaluation`, `outputs`, `targeting`, `runtime`, `tfx_extensions` and `serving.refresh`. Imported by
`refresh`, `refresh_runner` and `refit`.
"""
