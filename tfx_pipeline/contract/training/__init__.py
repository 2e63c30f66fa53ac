"""What training needs of songs and plays, counted before it starts: enough listeners, and songs that share them.

Imports the rest of `contract`, `runtime` and the settings (`*.config`) of labels, models and evaluation.
Imported by `contract.catalogue`, `contract.prepare` and the command.
"""
