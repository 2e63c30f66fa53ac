"""Catalogues in the input contract: simulated, or imported from public archives.

Imports: contract, runtime.
Imported by: local_run.
"""
