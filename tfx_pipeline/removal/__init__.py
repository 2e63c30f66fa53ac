"""Songs taken down are left out of a run, and listeners who asked for it are removed from all that a run keeps.

Imports `contract`, `runtime` and `serving`. Imported by the entrances.
"""
