"""Notes on columns that could serve better: those not used, free text, and lists written as text.

Imports the rest of `contract` alone. Imported by `contract.songs`.
"""
