"""What TFX lacks: artifact types, executors, components with our defaults, progress, plays read in columns.

Imports `runtime` and `serving`. Imported by every room that has a component.
"""
