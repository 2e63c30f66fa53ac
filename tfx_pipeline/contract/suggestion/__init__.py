"""The setting `columns`, suggested for a folder from the names, types and values of its columns.

Imports the rest of `contract` alone. Imported by the command.
"""
