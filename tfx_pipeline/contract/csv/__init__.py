"""CSV files read as Parquet: dialect, rows, lists in cells and the kinds of columns.

Imports the rest of `contract` alone. Imported by `contract.inputs` and `contract.column_notes`.
"""
