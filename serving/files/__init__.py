"""Files and folders that appear whole or not at all: written aside, synced, renamed, locked.

Imports: nothing of this project.
Imported by: refresh, savedmodel, tfx_pipeline.
"""
