"""Catalogues in the input contract: simulated, or imported from public archives.

Imports: contract, runtime, serving.files.
Imported by: local_run.
"""
