"""Reads the request log of a server: as a warm-up file of the next version, or as a table to join with plays.

Imports: files, protocol, savedmodel, server.
Imported by: nothing of this project.
"""
