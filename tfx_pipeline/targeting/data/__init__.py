"""Tables in and targets out: sources, exclusions, songs taken down, and sinks that appear whole or not at all.

Imports `targeting.beam`, `contract` and `runtime`. Imported by the targeting component and by commands.
"""
