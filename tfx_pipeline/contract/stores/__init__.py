"""Folders and files by URI: the one place that knows which file system a URI means, and what its errors mean.

Imports only the errors of `contract`. Imported by all that opens an input, and by what publishes to a store.
"""
