"""Columnar Beam: blocks of typed numpy columns that travel between steps in place of single rows, and their shards.

Imports: contract.
Imported by: labels, targeting, tfx_extensions.
"""
