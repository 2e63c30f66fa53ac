"""Tables in and targets out: exclusions, songs taken down, and results that appear whole or not at all.

Imports `targeting.beam`, `columnar` and `contract`. Imported by the targeting component and by commands.
"""
