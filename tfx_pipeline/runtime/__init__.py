"""What every command needs around its work: console, signals, the run folder, Beam's engine, settings files.

Imports `serving.files` alone. Imported by every other room.
"""
