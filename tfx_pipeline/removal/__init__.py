"""Songs taken down are left out of a run, and listeners who asked for it are removed from all that a run keeps.

Imports: contract, runtime, serving.files, serving.refresh, serving.savedmodel.
Imported by: index_refresh, local_run, the entrances.
"""
