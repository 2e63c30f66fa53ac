"""Earlier runs: what ML Metadata records of them, rollback, pruning, and what the gates compare the next run with.

Imports `runtime`, `tfx_extensions` and `serving`. Imported by `reports` and the entrances.
"""
